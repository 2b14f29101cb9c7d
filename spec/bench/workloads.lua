-- The workloads: what is measured, implementations, and targets.
--
--   name, title   --only finds either
--   forms         implementations: keys of `forms` below, simvae first
--   per           units of work in a step, of kind `unit`
--   measure       "steps" (default): seconds of steps, in interleaved rounds; "start": a program's start;
--                 "peak": most memory resident, of fresh processes; "flat": what memory grows by;
--                 "whole": seconds of training until the encoder's MIG is `goal`; "outcome": a number that
--                 `steps` of training lead to
--                 "size": bytes of the files that forms run, by their suffix; "first": seconds from the start of a
--                 process to its first result
--   workload      name of the workload in the workers' protocol (default: name)
--   plain         the figures are numbers of this kind, not seconds
--   children      processes of simvae's own do the work: its own processor time does not count
--   flops         a step's, counted from the shapes
--   tolerance     how far peers' numbers may be from ours: relative, or absolute where `absolute`
--   targets       times = f, than = forms: the best of those takes at least f times as long;
--                 most = value, rate = value (units a second), share = part of the sgemm rate,
--                 part = f, of = form: at most that part of it; within = f, of = form: so much above it at most
local workloads = {}

workloads.forms = {
  simvae = { worker = "simvae", form = "all", label = "simvae" },
  own_bf16 = { worker = "simvae", form = "bf16", label = "simvae, bf16", loose = true },
  one = { worker = "simvae", form = "one", label = "simvae, one thread" },
  ours = { worker = "simvae", form = "ours", label = "simvae, SV_BLAS=ours" },
  openblas = { worker = "simvae", form = "openblas", label = "simvae, SV_BLAS=openblas" },
  analytic = { worker = "simvae", form = "analytic", label = "simvae, closed form" },
  batch = { worker = "simvae", form = "batch", label = "drawing the batch" },
  step = { worker = "simvae", form = "step", label = "the whole step" },
  two_workers = { worker = "simvae", form = "2", label = "two worker processes" },
  one_worker = { worker = "simvae", form = "1", label = "one worker process" },
  no_worker = { worker = "simvae", form = "0", label = "in this process" },
  eager = { worker = "torch", form = "eager", label = "PyTorch eager" },
  last = { worker = "torch", form = "channels_last", label = "PyTorch channels_last" },
  compile = { worker = "torch", form = "compile", label = "PyTorch compile" },
  compile_last = { worker = "torch", form = "compile_last", label = "PyTorch compile, channels_last" },
  bf16 = { worker = "torch", form = "bf16", label = "PyTorch bf16 autocast", loose = true },
  jax = { worker = "jax", form = "jit", label = "JAX jit" },
  own_file = { worker = "simvae", form = "file", label = "simvae, the whole model", suffix = ".safetensors" },
  onnx = { worker = "onnxruntime", form = "ours", label = "onnxruntime, our file", suffix = ".onnx" },
  torch_onnx = { worker = "onnxruntime", form = "torch", label = "onnxruntime, PyTorch's export",
    suffix = ".torch.onnx" },
  c = { worker = "c", form = "O3", label = "our C, gcc -O3", suffix = ".c.exe", beside = { ".c", ".h" } },
  c_native = { worker = "c_native", form = "native", label = "our C, gcc -O3 -march=native", suffix = ".native.exe" },
  web = { worker = "node", form = "page", label = "our web page's script, Node.js", suffix = ".html" },
  fmu = { worker = "fmpy", form = "fmu", label = "our FMU, FMPy", suffix = ".fmu", beside = { ".inputs" } },
  numpy = { worker = "numpy", form = "histogram2d", label = "NumPy" },
  figure = { worker = "matplotlib", form = "figure", label = "Matplotlib, figure reused" },
  agg = { worker = "matplotlib", form = "agg", label = "Matplotlib, bare Agg" },
  circuit = { worker = "pyspice", form = "circuit", label = "PySpice, circuit" },
  alter = { worker = "pyspice", form = "alter", label = "PySpice, bare ngspice" },
  bare = { label = "Lua alone", start = { "LUA", "-e", "" } },
  require = { label = "simvae", start = { "LUA", "-e", "require 'simvae'" } },
  import = { label = "PyTorch", start = { "PYTHON", "-c", "import torch" } },
}

-- Multiply-adds count as two; the taps that a border leaves empty are counted, as is usual.
local function conv(batch, side, inputs, outputs)
  return 2 * batch * side * side * outputs * inputs * 16
end

--- Of a DCGAN for 3x64x64 pictures and 4 parameters: forward, gradient of weights, of inputs where one is needed.
-- @tparam integer stage 1: the decoder learns; 2: the encoder, through the frozen decoder
function workloads.dcgan_flops(stage, width, batch)
  local decoder_first = 2 * batch * 4 * width * 128
  local encoder_first, encoder_last = conv(batch, 32, 3, width), 2 * batch * 8 * width * 128
  local inner = 0 -- the three layers between, the same in both directions
  for k = 0, 2 do inner = inner + conv(batch, 16 >> k, width << k, width << k + 1) end
  if stage == 1 then return 2 * decoder_first + 3 * (inner + encoder_first) end
  return 2 * (decoder_first + inner + encoder_first) + 2 * encoder_first + 3 * (inner + encoder_last)
end

--- Of a training step of linear layers.
function workloads.mlp_flops(sizes, batch)
  local total = 0
  for k = 2, #sizes do total = total + (k == 2 and 2 or 3) * 2 * batch * sizes[k - 1] * sizes[k] end
  return total
end

local function add(t)
  workloads[#workloads + 1] = t
end

local SGEMM = 1536
add {
  name = "sgemm", title = "the machine's sgemm rate: 1536 x 1536 x 1536", unit = "product", flops = 2 * SGEMM ^ 3,
  forms = { "simvae", "one", "numpy", "eager" }, targets = {},
}

local stored = { [""] = "", at = ", the first stored transposed", bt = ", the second stored transposed" }
-- Products by shape, M x N x K, through each backend: what the rules in csrc/kernels/gemm_dense.c rest on.
for _, shape in ipairs {
  "64x64x64", "256x256x256", "384x384x384", "512x512x512", "1024x1024x1024", "1024x1024x1024-at", "1024x1024x1024-bt",
  "4x512x512-bt", "16x1024x1024-bt", "256x128x128-bt", "64x1024x1024-bt", "64x512x512", "1024x1024x64-at",
  "128x128x2048", "10000x64x64", "1024x1x1024",
} do
  local m, n, k, transposed = shape:match "^(%d+)x(%d+)x(%d+)%-?(%a*)$"
  add {
    name = "gemm-" .. shape, unit = "product", flops = 2 * m * n * k, targets = {},
    title = string.format("product of %s x %s by %s x %s%s", m, k, k, n, stored[transposed]),
    forms = { "simvae", "ours", "openblas", "numpy", "eager" },
  }
end

local random = { uniform = "uniform numbers", normal = "normal numbers", dropout = "numbers dropped out" }
for _, name in ipairs { "uniform", "normal", "dropout" } do
  add {
    name = "random-" .. name, title = random[name] .. ", a million at a time", unit = "number", per = 1000000,
    targets = {}, forms = name == "dropout" and { "simvae", "one", "eager" } or { "simvae", "one", "numpy", "eager" },
  }
end

-- Single ops of 1024 x 1024 numbers with their gradients, along the last axis where there is one.
for _, name in ipairs {
  "softmax", "log-softmax", "cross-entropy", "logsumexp", "max", "layer-norm", "transpose", "gather", "expand", "sin",
  "atan2",
} do
  add {
    name = "op-" .. name, title = name:gsub("%-", " ") .. " and its gradient, 1024 x 1024", unit = "op", targets = {},
    forms = { "simvae", "one", "eager" },
  }
end

-- Four 3x3 convolutions with relu behind, of the sizes in a residual net of width 16 for images of 64 x 64: 4 passes
-- forward, 4 for weights and 3 for inputs.
for _, size in ipairs { "64x32x16", "64x16x32", "64x8x64", "64x4x128" } do
  local batch, side, channels = size:match "^(%d+)x(%d+)x(%d+)$"
  add {
    name = "convolutions-" .. size, unit = "step", flops = 11 * 2 * batch * side ^ 2 * channels ^ 2 * 9,
    title = string.format("four 3x3 convolutions, %s channels, %s images of %s x %s, forward and backward", channels,
      batch, side, side),
    forms = { "simvae", "one", "eager", "last" }, tolerance = 1e-4,
    targets = { { times = 1.3, than = { "eager", "last" }, text = "PyTorch's convolutions" } },
  }
end

local torch = { "eager", "last", "compile", "compile_last" }
for _, stage in ipairs { 1, 2 } do
  for _, width in ipairs { 64, 32, 16 } do
    local factor = width == 16 and 2 or stage == 1 and 1.3 or 1.6
    local targets = { { times = factor, than = torch, text = "PyTorch's best fp32" } }
    if width == 64 then targets[2] = { share = 0.7 } end
    if width >= 32 then targets[#targets + 1] = { times = 1.8, than = { "one" }, text = "one thread" } end
    add {
      name = string.format("stage%d-%d", stage, width), unit = "step", tolerance = 1e-4,
      title = string.format("DCGAN stage %d step, 3x64x64, batch 64, width %d", stage, width),
      flops = workloads.dcgan_flops(stage, width, 64), targets = targets,
      forms = { "simvae", "one", "eager", "last", "compile", "compile_last", "bf16", "jax" },
    }
  end
end

-- Factors of convolutions rounded to bfloat16; sums, weights and optimizer in fp32, as under PyTorch's autocast.
for _, stage in ipairs { 1, 2 } do
  add {
    name = "bf16-stage" .. stage, workload = string.format("stage%d-64", stage), unit = "step", tolerance = 1e-4,
    title = string.format("DCGAN stage %d step in bf16, width 64", stage), flops = workloads.dcgan_flops(stage, 64, 64),
    forms = { "own_bf16", "simvae", "bf16" },
    targets = {
      { times = 1.3, than = { "simvae" }, text = "our own fp32" },
      { times = 1, than = { "bf16" }, text = "PyTorch's bf16 autocast" },
    },
  }
end
add {
  name = "bf16-mse", title = "MSE of a DCGAN decoder of box, width 16, after 2,000 steps", unit = "run",
  measure = "outcome", plain = "mean squared error", workload = "mse-16", steps = 2000,
  forms = { "own_bf16", "simvae" }, targets = { { within = 0.02, of = "simvae" } },
}

add {
  name = "mlp", title = "MLP 3-128-128-128-122 training step, batch 256", unit = "step", tolerance = 1e-4,
  flops = workloads.mlp_flops({ 3, 128, 128, 128, 122 }, 256), forms = { "simvae", "one", "eager", "compile", "jax" },
  targets = {
    { times = 4, than = { "eager" }, text = "PyTorch eager" },
    { times = 1.5, than = { "compile", "jax" }, text = "the better of torch.compile and JAX jit" },
  },
}

for _, batch in ipairs { 1, 256 } do
  add {
    name = "encode-" .. batch, title = "encode one image, width 32, in batches of " .. batch, unit = "image",
    per = batch, tolerance = 1e-3, forms = { "simvae", "one", "eager", "last", "compile", "jax" },
    targets = { { times = batch == 1 and 3 or 1.3, than = { "eager" }, text = "PyTorch eager" } },
  }
end

add {
  name = "mim", title = "MIM of 10,000 x 11 against 11", unit = "matrix", tolerance = 1e-3,
  forms = { "simvae", "one", "numpy" },
  targets = { { times = 5, than = { "numpy" }, text = "NumPy's histogram2d form" } },
}

local rates = { box = 100000, polygon = 50000, fourier = 50000, dsprites = 200000 }
for _, name in ipairs { "box", "polygon", "fourier", "dsprites" } do
  add {
    name = "draw-" .. name, title = "drawing " .. name .. " on one core", unit = "image", per = 64,
    tolerance = 0.01, absolute = true, forms = { "one", "figure", "agg" },
    targets = {
      { rate = rates[name] },
      { times = 300, than = { "figure" }, text = "a Matplotlib figure" },
    },
  }
end

add {
  name = "sampler", title = "the batch's share of a stage 1 step of box, width 32", unit = "step",
  forms = { "batch", "step" }, targets = { { part = 0.05, of = "step" } },
}

add {
  name = "workers-slow", title = "samples of a Lua function that takes 1 ms, 1x64x64", unit = "sample", per = 64,
  forms = { "two_workers", "one_worker", "no_worker" },
  targets = { { times = 1.8, than = { "one_worker" }, text = "one worker process" } },
}
add {
  name = "workers-fast", title = "samples of a Lua function that takes next to no time, 1x64x64", unit = "sample",
  per = 64, forms = { "one_worker", "no_worker" }, targets = { { rate = 50000 } },
}

add {
  name = "rlc", title = "RLC sweep of 61 frequencies", unit = "sweep", per = 16, tolerance = 1e-4, children = true,
  forms = { "simvae", "analytic", "circuit", "alter" },
  targets = { { times = 3, than = { "circuit" }, text = "PySpice's shared-library sweep" } },
}

add {
  name = "require", title = "a fresh process that requires simvae", unit = "start", measure = "start",
  forms = { "require", "bare", "import" }, targets = { { most = 0.020 } },
}
add {
  name = "require-memory", title = "its resident memory", unit = "MB", measure = "start", memory = true,
  forms = { "require", "bare", "import" }, targets = { { most = 20 } },
}
for _, stage in ipairs { 1, 2 } do
  add {
    name = "peak-" .. stage, title = string.format("peak resident memory of stage %d training, width 64", stage),
    unit = "MB", measure = "peak", workload = string.format("stage%d-64", stage), steps = 20, memory = true,
    forms = { "simvae", "eager", "last", "jax" },
    targets = { { times = 2, than = { "eager", "last" }, text = "PyTorch's least" } },
  }
end
add {
  name = "flat", title = "resident memory: step 2,000 less step 200", unit = "MB", measure = "flat",
  workload = "flat-200to2000", memory = true, forms = { "simvae" }, targets = { { most = 1 } },
}

-- Net "conv", width 16, the default recipe, with about the demo's steps. PyTorch is given its pictures, drawn by simvae
-- outside the timing; simvae draws its own within it. The times of a step come from the same runs.
local as_fast = { { times = 1.3, than = { "eager", "last" }, text = "the same recipe in PyTorch" } }
add {
  name = "whole", title = "box from nothing to MIG 0.56, net conv, width 16", unit = "run", measure = "whole",
  goal = 0.56, every = 100, tolerance = 1e-3, forms = { "simvae", "eager", "last" }, targets = as_fast,
  beside = { name = "whole-step", title = "a step of those runs, of both stages by their shares", unit = "step",
    targets = as_fast },
}

-- Exported models: their files, the first result of a process, and the latency of one call.
for _, of in ipairs {
  { "mlp", "decode of one row, MLP 3-128-128-128-122", "row" },
  { "conv", "decode of one picture, net conv, width 32", "row" },
  { "sample", "1,000 draws of one posterior, MLP and flow", "call" },
  { "corrected", "1,000 draws of one recalibrated posterior, MLP and flow", "call" },
} do
  local name, title, unit = table.unpack(of)
  local is_decoder = unit == "row"
  local forms = { "onnx", "c", "c_native", "web" }
  if is_decoder then forms = { "onnx", "torch_onnx", "c", "c_native", "web", "fmu" } end
  local function row(part, extra)
    extra.name, extra.workload, extra.unit = "export-" .. name .. part, "export-" .. name, extra.unit or unit
    extra.tolerance, extra.absolute, extra.targets = is_decoder and 1e-4 or 1e-3, is_decoder, {}
    extra.forms = { part == "" and "one" or "own_file", table.unpack(forms) }
    add(extra)
  end
  row("", { title = title })
  row("-first", { title = "a process from its start to the first " .. title, measure = "first" })
  row("-size", { title = "file: " .. title, measure = "size", memory = true, unit = "MB" })
end

return workloads
