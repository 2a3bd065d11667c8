"""Files for browsers; uPlot (https://github.com/leeoniya/uPlot) is vendored as released, 1.6.32, MIT."""
