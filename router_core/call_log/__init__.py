"""The call log: spool, ingest, schema, reading."""
