"""Checks over HTTP whether a receiver of Ship24's webhooks, this one or any other, does what Ship24 expects.

A case is data (`access`, `bodies`, `repeats`; `planning` puts them in order): the requests, the expected response, what Ship24
does otherwise, and the page that says so. `checking` sends the requests, `judging` judges the responses, `endings` compares what
the ops API of this service shows afterwards.
"""
