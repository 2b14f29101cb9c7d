"""PySpice's shared-library simulation of the series RLC circuit.

circuit   the circuit's values set, its simulator asked for an AC analysis: the library's own way
alter     ngspice's own commands through PySpice's NgSpiceShared, the circuit read once: the least that it takes
"""
import protocol

out = protocol.open_lines()
protocol.threads()
with protocol.needed(out):
    import numpy as np
    import PySpice
    from PySpice.Spice.Netlist import Circuit
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

import logging

logging.disable(logging.CRITICAL)

NETLIST = """series RLC
V1 in 0 dc 0 ac 1
R1 in a 100
L1 a out 10m
C1 out 0 100n
.ac dec 20 100 100k
.end
"""


def response(h):
    """61 gains in dB, then 61 phases in radians."""
    return np.concatenate([20 * np.log10(np.abs(h)), np.unwrap(np.angle(h))])


class ByCircuit:
    def __init__(self):
        self.circuit = Circuit("series RLC")
        self.circuit.SinusoidalVoltageSource("1", "in", self.circuit.gnd, amplitude=1, ac_magnitude=1)
        self.r = self.circuit.R(1, "in", "a", 100)
        self.l = self.circuit.L(1, "a", "out", 1e-2)
        self.c = self.circuit.C(1, "out", self.circuit.gnd, 1e-7)

    def sweep(self, r, l, c):
        self.r.resistance, self.l.inductance, self.c.capacitance = float(r), float(l), float(c)
        simulator = self.circuit.simulator(temperature=27, nominal_temperature=27)
        analysis = simulator.ac(start_frequency=100, stop_frequency=100e3, number_of_points=20, variation="dec")
        return response(np.asarray(analysis.out))


class ByCommands:
    def __init__(self):
        self.ngspice = NgSpiceShared.new_instance()
        self.ngspice.load_circuit(NETLIST)

    def sweep(self, r, l, c):
        say = self.ngspice.exec_command
        say("alter r1 = %.17g" % r)
        say("alter l1 = %.17g" % l)
        say("alter c1 = %.17g" % c)
        say("run")
        plot = self.ngspice.plot(None, self.ngspice.last_plot)
        h = np.asarray(plot["out"]._data)
        say("destroy all")
        return response(h)


class Sweeps:
    """A step is one sweep for each row of z."""

    def __init__(self, form, z):
        self.z = z.astype(np.float64)
        self.how = (ByCircuit if form == "circuit" else ByCommands)()

    def run(self, steps):
        for _ in range(steps):
            self.x = [self.how.sweep(*z) for z in self.z]

    def check(self):
        self.run(1)
        return self.x[0]


def load(workload, form, file):
    return Sweeps(form, np.load(file)["z"])


protocol.serve("PySpice " + PySpice.__version__, load, out)
