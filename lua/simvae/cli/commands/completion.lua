--- simvae completion: completion of commands and options for shells.

local function define(command)
  command:argument("shell", "The shell."):choices { "bash", "zsh", "fish" }
end

local function run(a, parser)
  io.write(parser["get_" .. a.shell .. "_complete"](parser))
end

return {
  order = 210,
  summary = "Prints a script that completes commands and options in a shell.",
  text = "Prints a script that completes commands and options in a shell: bash, zsh or fish. "
    .. "In bash: eval \"$(simvae completion bash)\" in ~/.bashrc. In zsh: simvae completion zsh > a folder of "
    .. "fpath/_simvae. In fish: simvae completion fish > ~/.config/fish/completions/simvae.fish.",
  examples = { "eval \"$(simvae completion bash)\"" },
  define = define,
  run = run,
}
