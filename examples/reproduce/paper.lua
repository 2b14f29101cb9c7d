--- The paper's results (table 1, figure 3), and the goals of a reproduction.
local paper = {
  fourier = { mig = 0.76, truth = 1, ties = "independent" },
  dsprites = { mig = 0.32, truth = 1, ties = "independent" },
  box = { mig = 0.56, truth = 0.82, ties = "correlated in sampling space" },
  rlc = { mig = 0.13, truth = 0.07, ties = "invariant under scaling",
    f0_slope = 1.00, f0_r2 = 0.99, Q_slope = 0.97, Q_r2 = 0.97 },
  polygon = { mig = 0, truth = 0, ties = "invariant under permutation" },
}
-- { measure, required value, target }
local goals = {
  fourier = { { "mig", 0.93, 0.95 } },
  dsprites = { { "mig", 0.76, 0.82 }, { "refined_mig", 0.76, 0.82 } },
  box = { { "mig", 0.74, 0.78 } },
  rlc = { { "draws_r2", 0.999 }, { "orbit_kolmogorov", 0.05, 0.02 }, { "f0_r2", 0.995, 0.999 },
    { "Q_r2", 0.995, 0.999 }, { "f0_slope_error", 0.01 }, { "Q_slope_error", 0.01 } },
  polygon = { { "refined_iou", 0.88, 0.95 } },
}
for _, list in pairs(goals) do
  list[#list + 1] = { "calibration_off", 0.04 }
  list[#list + 1] = { "calibration_two_off", 0.02 }
end

return { values = paper, goals = goals, order = { "fourier", "dsprites", "box", "rlc", "polygon" } } -- as in table 1
