"""HTTP: the only place that knows frameworks."""
