"""Showing the workflow graph: the part worth showing, and the formats that it is written in."""
