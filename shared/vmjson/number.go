package vmjson

import (
	"fmt"
	"strconv"
)

// number reads the text of a number. Whole refuses a fraction or exponent.
func (s *scanner) number(whole bool) (string, error) {
	s.peek()
	start, p := s.pos, s.pos
	digits := func() bool {
		from := p
		for p < len(s.data) && s.data[p] >= '0' && s.data[p] <= '9' {
			p++
		}
		return p > from
	}
	at := func(set string) bool {
		for i := range len(set) {
			if p < len(s.data) && s.data[p] == set[i] {
				p++
				return true
			}
		}
		return false
	}
	at("-")
	ok := at("0") || digits()
	if !whole {
		if ok && at(".") {
			ok = digits()
		}
		if ok && at("eE") {
			at("+-")
			ok = digits()
		}
	}
	if ok && p < len(s.data) {
		switch s.data[p] {
		case ',', ']', ' ', '\t', '\r', '\n':
		default:
			ok = false
		}
	}
	if !ok {
		if whole {
			return "", s.errorf("not an integer: %s", s.found())
		}
		return "", s.errorf("not a number: %s", s.found())
	}
	s.pos = p
	return string(s.data[start:p]), nil
}

// floats reads an array of numbers onto dst.
func (s *scanner) floats(dst []float64) ([]float64, error) {
	if err := s.expect('['); err != nil {
		return dst, err
	}
	for first := true; ; first = false {
		more, err := s.next(first, ']')
		if err != nil || !more {
			return dst, err
		}
		text, err := s.number(false)
		if err != nil {
			return dst, err
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return dst, fmt.Errorf("number out of range: %s", clip(text))
		}
		dst = append(dst, v)
	}
}

// integers reads an array of whole numbers onto dst.
func (s *scanner) integers(dst []int64) ([]int64, error) {
	if err := s.expect('['); err != nil {
		return dst, err
	}
	for first := true; ; first = false {
		more, err := s.next(first, ']')
		if err != nil || !more {
			return dst, err
		}
		text, err := s.number(true)
		if err != nil {
			return dst, err
		}
		t, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return dst, fmt.Errorf("integer out of range: %s", clip(text))
		}
		dst = append(dst, t)
	}
}
