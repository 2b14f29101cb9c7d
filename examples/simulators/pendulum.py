#!/usr/bin/env python3
"""A damped pendulum as a simulator for sv.command, protocol "line".

Reads a line [length, damping, angle] (m, 1/s, rad) and answers with a line of 64
angles, from 0 to 6.3 s, until its input ends. Needs Python alone.
"""

import json
import math
import sys

STEP, INNER = 0.1, 20  # s between the angles; steps of the integration between them


def swing(length, damping, angle):
    """Semi-implicit Euler steps of angle'' = -g/length sin(angle) - damping angle'."""
    speed, angles, dt = 0.0, [], STEP / INNER
    for _ in range(64):
        angles.append(angle)
        for _ in range(INNER):
            speed += dt * (-9.81 / length * math.sin(angle) - damping * speed)
            angle += dt * speed
    return angles


for line in sys.stdin:
    print(json.dumps(swing(*json.loads(line))), flush=True)
