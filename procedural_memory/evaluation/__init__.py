"""How good predictions are: a prequential evaluation through the public interface, its measures, tables and plot."""
