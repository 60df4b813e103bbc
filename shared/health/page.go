package health

import (
	_ "embed"
	"net/http"
)

// The status page: plain files, served as they are. The chart library is uPlot
// (https://github.com/leeoniya/uPlot), under the licence beside it.
var (
	//go:embed page/index.html
	indexHTML string
	//go:embed page/app.js
	appJS string
	//go:embed page/charts.js
	chartsJS string
	//go:embed page/style.css
	styleCSS string
	//go:embed page/icon.svg
	iconSVG string
	//go:embed page/vendor/uPlot.iife.min.js
	uPlotJS string
	//go:embed page/vendor/uPlot.min.css
	uPlotCSS string
	//go:embed page/vendor/LICENSE
	uPlotLicence string
)

const (
	typeJS  = "text/javascript; charset=utf-8"
	typeCSS = "text/css; charset=utf-8"
)

// pageFiles are the page's files by path. There is no directory to list.
var pageFiles = map[string]reply{
	"/":                              {http.StatusOK, "text/html; charset=utf-8", indexHTML},
	"/page/app.js":                   {http.StatusOK, typeJS, appJS},
	"/page/charts.js":                {http.StatusOK, typeJS, chartsJS},
	"/page/style.css":                {http.StatusOK, typeCSS, styleCSS},
	"/page/icon.svg":                 {http.StatusOK, "image/svg+xml", iconSVG},
	"/page/vendor/uPlot.iife.min.js": {http.StatusOK, typeJS, uPlotJS},
	"/page/vendor/uPlot.min.css":     {http.StatusOK, typeCSS, uPlotCSS},
	"/page/vendor/LICENSE":           {http.StatusOK, "text/plain; charset=utf-8", uPlotLicence},
}
