--- The random streams of the library, in one place.
--
-- A number is a function of seed, stream and index (Philox, csrc/engine/rng.c). Streams of a seed that users give:
--
--     stream                   used by                    for
--     i + a 2^40               simulator.streams          parameters of sample i, a-th draw in its place (from 0)
--     i + a 2^40 + 2^62        simulator.streams          its output: the rng of simulate
--     i + 2^61                 simulator.noise            the noise of sample i where it is measured
--     CUBE                     posterior.support.cube     draws of independent priors by tensor ops
--     WEIGHTS                  model                      initial weights
--     HELD_NOISE               train                      noise of the measurement of held-out samples
--     NOISE                    train                      noise of stage 2, and the directions of its distances
--     e + 1                    sampler.epochs             the order of epoch e (from 0) of a data set
--     0                        tensor.random              sv.rand and sv.randn, of the seed of sv.seed
--
-- Seeds made of it, each with streams as above:
--
--     seed + PRIOR             train                      draws of the prior that codes are compared with
--     seed + SLEEP             train                      draws of the prior that the sleep phase decodes
--     seed ~ EVALUATION        evaluate                   samples of an evaluation; streams of its metrics
--     seed + FIT               train                      noise of a measurement, where the decoder's noise is measured
--     HELD_OUT                 sampler.offline            which samples are held out: stream i decides on sample i
--     seed ~ CALIBRATION       metrics.calibration        draws of the posteriors for calibration
--     seed ~ RECALIBRATION     model.recalibration        held-out simulations
--     KNOTS                    posterior.support.recalibrated draws of a posterior, for its quantiles
--     DIRECTIONS               model.surprise             projections of the encoder's numbers
--     seed ~ REPLICATED        metrics.predictive_check   draws of posteriors and the noise of replicated outputs
--     SUMMARIES                model.posterior            draws of a posterior, for its mean, quantiles, mode
--     ESTIMATES                posterior.flow             draws of a posterior, for its mean in code space
--     AGREEMENT                simulator.agreement        draws of a prior that are compared with its density
--     seed ~ ROUNDS            train.rounds               draws of restricted priors: stream r, those after round r
--     seed ~ CHOICE            train.choose               pools of the prior's draws: stream p, after part p
--     seed ~ MICROBATCH        train.microbatches         noise of the microbatches of a step: streams of its number
--     HALVES                   posterior.support.coupling which coordinates a coupling transform changes first
--
-- WEIGHTS and NOISE are also streams of samples: sample 7,234,932 of a training shares random numbers with the initial
-- weights of a model of the same seed, sample 4.7e11 with the noise. The effect is negligible. A new stream takes a
-- number from 3 * 2^60 to 2^62, where there are no samples.
local core = require "simvae.core"

local streams = {}

local WEIGHTS = 0x6e6574           -- "net"
local NOISE = 0x6e6f697365         -- "noise"
local PRIOR = 0x7072696f72         -- "prior"
local SLEEP = 0x736c656570         -- "sleep"
local FIT = 0x666974               -- "fit"
local HELD_NOISE = 3 << 60
local EVALUATION = 0x6576616c << 24 -- "eval"
local HELD_OUT = 0x73706c6974      -- "split"
local CALIBRATION = 0x63616c6962 << 16 -- "calib"
local RECALIBRATION = 0x726563616c << 16 -- "recal"
local KNOTS = 0x6b6e6f74           -- "knot"
local DIRECTIONS = 0x64697273       -- "dirs"
local REPLICATED = 0x7265706c << 16 -- "repl"
local SUMMARIES = 0x706f7374       -- "post"
local ESTIMATES = 0x656e636f       -- "enco"
local AGREEMENT = 0x61677265       -- "agre"
local ROUNDS = 0x726f756e64 << 16 -- "round"
local CHOICE = 0x63686f6f7365 << 8 -- "choose"
local MICROBATCH = 0x6d6963726f << 16 -- "micro"
local HALVES = 0x68616c66          -- "half"

--- Offset between the streams of a sample's attempts, larger than the number of samples.
streams.ATTEMPT = 1 << 40

local MEASUREMENT = 1 << 61

--- The noise of sample i of a seed.
function streams.measurement(seed, i) return core.rng(seed, MEASUREMENT + i) end

local CUBE = 3 << 60

--- Draws of the prior on the unit cube.
-- @tparam integer seed
-- @tparam integer before numbers that come before them
function streams.cube(seed, before)
  local rng = core.rng(seed, CUBE)
  rng:take(before)
  return rng
end

--- Offset from the stream of a sample's parameters to that of its output.
streams.SIMULATION = 1 << 62

--- Initial weights of a model.
function streams.weights(seed) return core.rng(seed, WEIGHTS) end

--- Noise of a training.
function streams.noise(seed) return core.rng(seed, NOISE) end

--- Draws of the prior that the codes of a training are compared with.
function streams.prior(seed) return core.rng(seed + PRIOR) end

--- Draws of the prior that the sleep of a training decodes.
function streams.dreams(seed) return core.rng(seed + SLEEP) end

--- The noise of a measurement on the samples that the decoder's distribution is measured on.
function streams.fit(seed) return core.rng(seed + FIT) end
--- The noise of the measurement of a training's held-out samples.
function streams.held_noise(seed) return core.rng(seed, HELD_NOISE) end

--- A stream of an evaluation.
-- @tparam integer seed
-- @tparam ?integer stream (0: its samples)
function streams.evaluation(seed, stream) return core.rng(seed ~ EVALUATION, stream) end

--- The held-out samples of a data set: stream i decides on sample i.
function streams.held_out() return core.rng(HELD_OUT) end

--- Draws of the posteriors for an evaluation's calibration.
function streams.calibration(seed) return core.rng(seed ~ CALIBRATION) end

--- Held-out simulations that a posterior is recalibrated on.
function streams.recalibration(seed) return core.rng(seed ~ RECALIBRATION) end

--- Draws of a posterior whose quantiles are the knots of its recalibration.
-- @tparam ?integer stream 1: draws that are compared with them (0: the knots)
function streams.knots(stream) return core.rng(KNOTS, stream) end

--- Random directions in the space of an encoder's numbers.
function streams.directions() return core.rng(DIRECTIONS) end

--- Draws of posteriors for replicated outputs, and their noise.
function streams.replicated(seed) return core.rng(seed ~ REPLICATED) end

--- Draws of a posterior for its summaries.
-- @tparam integer first number of the posterior among those that are summarised together
function streams.summaries(first) return core.rng(SUMMARIES, first) end

--- Draws of a posterior whose mean is an estimate.
function streams.estimates() return core.rng(ESTIMATES) end

--- Draws of a prior (stream i: draw i), and a Markov chain on them.
function streams.agreement() return core.rng(AGREEMENT) end

--- Draws of the prior within the support of the posterior after a round.
function streams.rounds(seed, round) return core.rng(seed ~ ROUNDS, round) end

--- The pool of the prior's draws that parameters are chosen from after a part of the simulations, and the choice.
function streams.choice(seed, part) return core.rng(seed ~ CHOICE, part << 40) end

--- Noise of the microbatches of a training.
function streams.microbatches(seed) return core.rng(seed ~ MICROBATCH) end

--- The halves of two coupling transforms.
-- @tparam integer pair from 1
function streams.halves(pair) return core.rng(HALVES, pair) end

return streams
