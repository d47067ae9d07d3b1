"""What is remembered: counts, workflow graph, patterns, causal chains and their similarity."""
