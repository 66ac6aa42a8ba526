"""Pictures of graphs of Values, of models and of their training."""

from fastgrad.viz.exploring import explore
from fastgrad.viz.filming import Film, watch
from fastgrad.viz.graphs import draw_dot, trace
from fastgrad.viz.graphs import notebook_display as notebook_display
from fastgrad.viz.pages import Page
from fastgrad.viz.plots import plot_decision_boundary, plot_losses
from fastgrad.viz.walking import TooManyNodesError

__all__ = [
    "Film",
    "Page",
    "TooManyNodesError",
    "draw_dot",
    "explore",
    "plot_decision_boundary",
    "plot_losses",
    "trace",
    "watch",
]

# A notebook shows the graph of an expression of at most so many nodes; 0 turns that off.
NOTEBOOK_LIMIT = 300
