"""Use cases on stored data, each written once: prune, replay, rebuild."""
