"""Outages: rules for logging a fault that lasts. One line when it begins, one for each other cause, one at its end."""

_MAX_CAUSES = 20  # some causes name a port or a process, so that each differs


class Outage:
    """The state of one fault: whether it lasts, and the causes that were logged."""

    def __init__(self) -> None:
        self.lasts = False
        self._causes: set[str] = set()

    def begin(self, cause: str) -> bool:
        """Note that the fault lasts; return whether to log this cause."""
        self.lasts = True
        if cause in self._causes or len(self._causes) >= _MAX_CAUSES:
            return False
        self._causes.add(cause)
        return True

    def end(self) -> bool:
        """Note that the fault is over; return whether to log that."""
        lasted, self.lasts = self.lasts, False
        self._causes.clear()
        return lasted
