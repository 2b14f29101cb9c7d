--- Networks from layers: a decoder (code -> output) and an encoder (output -> the numbers of a posterior's head).
--
--     local decoder, encoder = sv.nets.mlp { code = 4, heads = 8, output = { 3, 64, 64 }, width = 32 }
--
-- A net is a file of this folder. It returns a table: `build`, the function that sv.nets.NAME is, and `width`, its
-- default width. build takes { code = inputs of the decoder, heads = outputs of the encoder, output = {C, H, W} or {n},
-- width =, rng =, locations = } and returns decoder, encoder. locations = { count =, size = }: the first numbers of
-- heads are `count` groups of `size` numbers that a location in code space is, followed by as many that are none
-- (simvae.posterior).
return require "simvae.util.names".folder("simvae.nn.nets", "sv.nets", "net", "build")
