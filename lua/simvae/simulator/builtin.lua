--- Names of the built-in simulators: `require("simvae.simulators." .. name)`, the files of that folder. A name that
-- comes from a file is looked up here, and nowhere else.
return require "simvae.util.catalogue".files("simvae.simulators", "box")
