"""onnxruntime: the ONNX files of sv.export.onnx, and those that PyTorch writes of the same networks."""
import os
import warnings

import protocol

out = protocol.open_lines()
threads = protocol.threads()
with protocol.needed(out):
    import numpy as np
    import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.log_severity_level = 3


def export_torch(kind, arrays, path):
    """PyTorch's own file of a decoder with the conversions of units around it, once."""
    import torch
    from torch import nn

    import torch_nets

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            net = torch_nets.mlp() if kind == "mlp" else torch_nets.conv_decoder(32)
            self.net = torch_nets.fill(net, arrays, "decoder.")
            for name in ("low", "high", "mean", "std"):
                if name in arrays:
                    self.register_buffer(name, torch.from_numpy(arrays[name]))

        def forward(self, z):
            if kind == "mlp":
                code = torch.log(z / self.low) * (2 / torch.log(self.high / self.low)) - 1
                return self.net(code) * self.std + self.mean
            return torch.sigmoid(self.net((z - self.low) * (2 / (self.high - self.low)) - 1))

    axes = {"z": {0: "batch"}, "x": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Decoder().eval(), (torch.from_numpy(arrays["z"]).expand(2, -1),), path, dynamo=False,
                          input_names=["z"], output_names=["x"], dynamic_axes=axes)


def load(workload, form, file):
    kind, arrays = workload.split("-")[1], dict(np.load(file))
    path = file + (".torch.onnx" if form == "torch" else ".onnx")
    if form == "torch" and not os.path.exists(path):
        export_torch(kind, arrays, path)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {value.name: arrays[value.name] for value in session.get_inputs()}
    return protocol.Calls(lambda: session.run(None, feeds),
                          lambda: session.run(None, feeds)[0].reshape(-1)[:64])


protocol.serve("onnxruntime " + onnxruntime.__version__, load, out)
