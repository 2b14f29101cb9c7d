-- Shards by GNU parallel: the command of notebooks/scale.md, over an sshd of this machine on a port of its own.
local helper = require "spec.helper"
local assert = require "luassert"
local core = require "simvae.core"
local simvae = require "spec.fixtures.simvae"

local quote = helper.quote
local folder, read = simvae.folder, helper.read

simvae.write("ring.lua", simvae.ring)

local SSHD = "/usr/sbin/sshd"
local WAIT = 10 -- seconds for sshd to listen

local function missing()
  if not helper.have "parallel" or not helper.run "parallel --version":find "GNU parallel" then
    return "no GNU parallel (package parallel)"
  end
end

local function no_ssh()
  if not helper.have "ssh-keygen" or core.system.kind(SSHD) ~= "file" then return "no sshd (package openssh-server)" end
  if helper.run "id -u":match "%d+" ~= "0" then return "sshd is started by root alone" end
end

-- Starts sshd; `ssh`: the words that connect to it. To be closed.
local function start_sshd()
  local own = helper.temporary_folder()
  local port = 30000 + core.system.pid() % 10000
  helper.run(string.format("mkdir -p /run/sshd; cd %s && chmod 700 . && ssh-keygen -q -t ed25519 -N '' -f host && "
    .. "ssh-keygen -q -t ed25519 -N '' -f user && cp user.pub authorized", quote(own)))
  helper.write(own .. "/sshd_config", string.format("Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\n"
    .. "AuthorizedKeysFile %s/authorized\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n",
    port, own, own))
  helper.write(own .. "/ssh_config", string.format("Host node\nHostName 127.0.0.1\nPort %d\nIdentityFile %s/user\n"
    .. "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nIdentitiesOnly yes\n", port, own))
  local pid = helper.run(string.format("setsid %s -D -f %s/sshd_config < /dev/null > %s/log 2>&1 & echo $!", SSHD,
    quote(own), quote(own))):match "%d+"
  local ssh = "ssh -F " .. own .. "/ssh_config"
  local stop = core.system.clock() + WAIT
  while select(2, helper.run(ssh .. " node true")) ~= 0 do
    if core.system.clock() > stop then
      helper.run("kill " .. pid)
      error("sshd does not answer:\n" .. read(own .. "/log"), 0)
    end
    core.system.sleep(0.1)
  end
  return setmetatable({ ssh = ssh }, { __close = function() helper.run("kill " .. pid) end })
end

-- The page's command, with other numbers and hosts.
local function documented(n, shards, hosts)
  local page = read "notebooks/scale.md"
  local command = assert(page:match "\n(parallel %-%-sshlogin .-)\n```", "the page has no such command")
  return (command:gsub("%-n %d+", "-n " .. n):gsub("%{%}/%d+", "{}/" .. shards):gsub("%{1%.%.%d+%}", "$(seq " .. shards
    .. ")"):gsub("%-%-sshlogin %S+", "--sshlogin " .. hosts))
end

describe("GNU parallel", function()
  local lacks = missing()

  local function is_whole()
    local out, code = simvae.run("merge", "shards", "-o", "merged.npz", "--quiet")
    assert.equal(0, code, out)
    simvae.run("simulate", "ring.lua", "-n", "300", "-o", "whole.npz", "--quiet")
    assert.equal(read(folder .. "/whole.npz"), read(folder .. "/merged.npz"))
    return out
  end

  it("draws shards on this machine and through ssh, from one documented command", function()
    if lacks then return pending(lacks) end
    local why = no_ssh()
    local daemon <close> = not why and start_sshd() or nil
    local ssh = daemon and daemon.ssh
    local command = documented(300, 6, why and "2/:" or "1/:,1/node")
    if ssh then command = command:gsub("^parallel ", "%0--ssh " .. quote(ssh):gsub("%%", "%%%%") .. " ") end
    local out, code = helper.run(simvae.on_path() .. command)
    assert.equal(0, code, out)
    is_whole()
    local log = read(folder .. "/shards.log")
    assert.equal(7, select(2, log:gsub("\n", "")))
    if why then return pending(why) end
    assert.matches("\tnode\t", log, 1, true)
  end)
end)
