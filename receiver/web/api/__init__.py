"""The operators' API under `/ops/api`: what may be asked, what is answered, and its description, made from one table."""
