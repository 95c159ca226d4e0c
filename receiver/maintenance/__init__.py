"""Use cases on stored data, each written once: prune, erase, replay, rebuild, targets, setup windows, customers."""
