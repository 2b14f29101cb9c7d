--- Names of the built-in simulators: `require("simvae.simulators." .. name)`. A name that comes from a file is looked
-- up here, and nowhere else.
return { "box", "dsprites", "fourier", "polygon", "rlc" }
