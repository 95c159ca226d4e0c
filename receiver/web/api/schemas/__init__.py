"""The schemas of the API's answers. The tests check them against real answers.

Times of ours are ISO 8601 UTC with milliseconds; `occurrence` and `latest_occurrence` are the courier's text as written.
"""
