"""Recording the tensors of a running PyTorch model, or of any program that adds them by hand.

`api.record` attaches to the model, `Recorder` copies what passes, a thread of `Writer` puts it on
disk through a sink (`NativeSink`, `PtSink`). Nothing here is imported before it is used: it needs
torch.
"""
