"""HTTP: the assembly of the service, its middleware and its endpoints."""
