"""Commands: redaction, parsing, templates and grounding."""
