"""Trained models of nnU-Net version 2 as our model folders."""

from acinus.predict.nnunet.importing import import_nnunet

__all__ = ["import_nnunet"]
