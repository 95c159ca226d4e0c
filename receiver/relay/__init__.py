"""Handing changes on: to the user's own code, over HTTP, to a broker; at least once, in the order of each tracker."""
