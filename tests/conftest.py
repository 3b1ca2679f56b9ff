"""Kernels run in Triton's interpreter where there is no GPU, nothing reaches a hub, and two threads are enough."""

import os

import torch

if not torch.cuda.is_available():
    # read when triton decorates a kernel, so it stands before anything launches one
    os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
torch.set_num_threads(2)
