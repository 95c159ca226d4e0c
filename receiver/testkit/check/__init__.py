"""Does a receiver of Ship24's webhooks do what Ship24 expects? Asked over HTTP, of any receiver.

A case is data (`access`, `bodies`, `repeats`; `planning` has them in order): what is sent, what a right receiver answers, what
Ship24 does otherwise and the page that says so. `checking` sends it, `judging` decides, `endings` reads our ops API afterwards.
"""
