"""FMPy: the FMU of an export, instantiated once; a call sets all inputs and gets all outputs."""
import shutil

import protocol

out = protocol.open_lines()
protocol.threads()
with protocol.needed(out):
    import fmpy
    import numpy as np
    from fmpy.simulation import instantiate_fmu

folders = []


def load(workload, form, file):
    path = file + ".fmu"
    description = fmpy.read_model_description(path)
    folders.append(fmpy.extract(path))
    fmu = instantiate_fmu(folders[-1], description, "CoSimulation")
    fmu.enterInitializationMode(startTime=0.0)
    fmu.exitInitializationMode()
    inputs = [v.valueReference for v in description.modelVariables if v.causality == "input"]
    outputs = [v for v in description.modelVariables if v.causality == "output"]
    references, count = [v.valueReference for v in outputs], sum(int(np.prod(v.shape)) for v in outputs)
    values = np.fromfile(file + ".inputs", np.float32).astype(float).tolist()
    get = fmu.getFloat32 if outputs[0].type == "Float32" else fmu.getFloat64

    def step():
        fmu.setFloat64(inputs, values)
        return get(references, nValues=count)

    return protocol.Calls(step, lambda: list(step())[:64])


def forget():
    while folders:
        shutil.rmtree(folders.pop(), ignore_errors=True)


protocol.serve("FMPy " + fmpy.__version__, load, out, forget)
