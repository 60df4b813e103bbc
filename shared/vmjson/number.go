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
	return array(s, dst, false, func(text string) (float64, error) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("number out of range: %s", clip(text))
		}
		return v, nil
	})
}

// integers reads an array of whole numbers onto dst.
func (s *scanner) integers(dst []int64) ([]int64, error) {
	return array(s, dst, true, func(text string) (int64, error) {
		t, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("integer out of range: %s", clip(text))
		}
		return t, nil
	})
}

// array reads an array of JSON numbers, each made a T by parse, onto dst.
func array[T any](s *scanner, dst []T, whole bool, parse func(text string) (T, error)) ([]T, error) {
	if err := s.expect('['); err != nil {
		return dst, err
	}
	for first := true; ; first = false {
		more, err := s.next(first, ']')
		if err != nil || !more {
			return dst, err
		}
		text, err := s.number(whole)
		if err != nil {
			return dst, err
		}
		v, err := parse(text)
		if err != nil {
			return dst, err
		}
		dst = append(dst, v)
	}
}
