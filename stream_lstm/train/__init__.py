"""Offline training and conversion of models, with the core's own scaling and cell inputs.

Only `fit` needs PyTorch (the extra `train`). The running service uses nothing from here.
"""
