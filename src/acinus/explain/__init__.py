"""Where the network looked: heat maps of the evidence for a label."""

from __future__ import annotations

from acinus.explain.grad_cam import HeatMap, grad_cam, write_heat_maps

__all__ = ["HeatMap", "grad_cam", "write_heat_maps"]
