"""Where weights come from: offline, over recordings and generated streams, with core's own scaling and cell.

Only `fit` needs PyTorch (the extra `train`); nothing in here is used by the running service.
"""
