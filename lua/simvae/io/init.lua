--- Files: arrays, weights of models, images.
--
-- Functions return nil and a message with the path and the reason where a file cannot be read or written, and raise
-- for wrong arguments. Writing is atomic: the old file is unchanged until the new one is complete on disk.
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local hdf5 = require "simvae.io.hdf5"
local mat = require "simvae.io.mat"
local npy = require "simvae.io.npy"
local npz = require "simvae.io.npz"
local safetensors = require "simvae.io.safetensors"

local files = {
  load_npy = npy.load,
  save_npy = npy.save,
  open_npy = npy.open,
  load_npz = npz.load,
  save_npz = npz.save,
  load_safetensors = safetensors.load,
  save_safetensors = safetensors.save,
  list_hdf5 = hdf5.list,
  load_hdf5 = hdf5.load,
  list_mat = mat.list,
  load_mat = mat.load,
}

local png_options = {
  scale = { "integer", default = 1, min = 1, max = 1024, doc = "every pixel becomes scale x scale" },
}
check.declare("io.encode_png", png_options)
check.declare("io.save_png", png_options)

local load_options = check.declare("io.load_png", {
  alpha = { "boolean", default = false, doc = "keeps alpha as the last channel (C = 2 or 4) where there is one" },
  max_bytes = file.max_bytes,
})

local animation_options = check.declare("io.save_apng", {
  delay_ms = { "integer", default = 50, min = 0, max = 65535, doc = "of each frame, in milliseconds" },
  plays = { "integer", default = 0, min = 0, max = 2 ^ 31 - 1, doc = "how often it is played; 0: for ever" },
  scale = png_options.scale,
})

--- Reads a PNG image: any colour type and depth, interlaced or not.
--
-- Transparent images are composited on white, unless alpha is requested. Gamma is not applied.
-- @tparam string path
-- @tparam[opt] table options options
-- @treturn tensor (C, H, W) in [0, 1], C = 1 (grey) or 3; or nil, message
-- @raise arguments of another type
-- @usage
-- sv.io.save_png("ring.png", x[1])
-- print(assert(sv.io.load_png "ring.png").shape)
function files.load_png(path, options)
  file.check_path("load_png", path)
  options = check.options("load_png", options, load_options)
  return file.read(path, function(source)
    local limit = file.limit(source, options.max_bytes)
    if source:size() > limit then file.refuse("%d bytes exceed the limit of %d", source:size(), limit) end
    return file.need(core.io.decode_png(file.need(source:read(0, source:size())), options.alpha, limit))
  end)
end

local function encode(what, t, options, ...)
  file.check_tensor(what, t)
  local ok, result = pcall(core.io.encode_png, t, options.scale, ...)
  if not ok then error(what .. ": " .. result, 3) end
  return result
end

--- An image as the bytes of a PNG file, 8 bits a sample.
-- @tparam tensor t (H, W), (1, H, W) grey, (3, H, W) RGB, or (2, H, W), (4, H, W) with alpha as the last
--   channel; values outside [0, 1] are clamped, NaN is 0
-- @tparam[opt] table options options
-- @treturn string
-- @raise a tensor that is not an image
-- @usage print(#sv.io.encode_png(x[1]) > 0)
function files.encode_png(t, options)
  options = check.options("encode_png", options, png_options)
  return encode("encode_png", t, options)
end

--- Writes an image to a PNG file.
-- @tparam string path
-- @tparam tensor t as encode_png takes it
-- @tparam[opt] table options options
-- @treturn boolean true; or nil, message
-- @raise a tensor that is not an image
-- @usage assert(sv.io.save_png("ring.png", x[1], { scale = 6 }))
function files.save_png(path, t, options)
  file.check_path("save_png", path)
  options = check.options("save_png", options, png_options)
  return file.write(path, { encode("save_png", t, options) })
end

--- One tensor (T, …) from a list of images of one shape.
local function stack_frames(list)
  if type(list) ~= "table" then return list end
  if #list == 0 then check.fail(3, "save_apng: an animation needs a frame; got an empty list") end
  local shape, all
  for i, t in ipairs(list) do
    if getmetatable(t) ~= core.metatable then
      check.fail(3, "save_apng: frame %d must be a tensor; got %s", i, check.describe(t))
    end
    local this = check.shape_text(t.shape)
    shape = shape or this
    if this ~= shape then check.fail(3, "save_apng: frame %d is %s where frame 1 is %s", i, this, shape) end
    all = all or core.zeros(#list, table.unpack(t.shape))
    all[i] = t
  end
  return all
end

--- Writes an animation that plays forever as an APNG file; programs without support for animations show
-- its first frame.
-- @tparam string path
-- @tparam tensor|table frames (T, C, H, W) or (T, H, W), or a list of images as encode_png takes them
-- @tparam[opt] table options options
-- @treturn boolean true; or nil, message
-- @raise frames of unequal shape, or that are not images
-- @usage sv.io.save_apng("rings.png", sv.slice(x, 1, 1, 8), { delay_ms = 200, scale = 4 })
function files.save_apng(path, frames, options)
  file.check_path("save_apng", path)
  options = check.options("save_apng", options, animation_options)
  frames = stack_frames(frames)
  return file.write(path, { encode("save_apng", frames, options, options.delay_ms, options.plays) })
end

return files
