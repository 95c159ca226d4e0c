"""Which lines a fault that lasts is worth: one when it begins, one for each other cause, one when it is over. Pure."""

_MAX_CAUSES = 20  # some causes name a port or a process, so that each is another one


class Outage:
    """What is known of one fault: whether it lasts, and which of its causes were logged."""

    def __init__(self) -> None:
        self.lasts = False
        self._causes: set[str] = set()

    def begin(self, cause: str) -> bool:
        """Note that the fault is there; return whether its cause is to be logged."""
        self.lasts = True
        if cause in self._causes or len(self._causes) >= _MAX_CAUSES:
            return False
        self._causes.add(cause)
        return True

    def end(self) -> bool:
        """Note that the fault is not there; return whether its end is to be logged."""
        lasted, self.lasts = self.lasts, False
        self._causes.clear()
        return lasted
