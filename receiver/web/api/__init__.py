"""The operators' API under `/ops/api`: endpoints as tables, their parameters, bodies and schemas, and the OpenAPI document."""
