// The web page of an export as a worker of the benchmark (protocol.py): its script as far as the model, in Node.js.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const CHECKED = 64;
const clock = () => {
  if (process.env.BENCH_CLOCK !== "cpu") return performance.now() / 1e3;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

// The functions of a page: the script up to the line that starts it, with the page's data where it looks for them.
const modelOf = async (path) => {
  const page = readFileSync(path, "utf8"), first = page.indexOf('<script>\n"use strict";');
  const part = (id) => {
    const at = page.indexOf(`id="${id}">`) + id.length + 6;
    return page.slice(at, page.indexOf("</script>", at));
  };
  const script = page.slice(first + 8, page.indexOf("simvae.ready =", first));
  const document = { getElementById: (id) => ({ textContent: part(id) }) };
  return new Function("window", "document", `${script}; return { facts, startEngine };`)({}, document);
};

// One call of the page; a page gives as many draws at once as it shows.
const load = async (workload, file) => {
  const { facts, startEngine } = await modelOf(`${file}.html`), run = await startEngine();
  const bytes = readFileSync(`${file}.inputs`);
  const given = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  if (!/sample|corrected/.test(workload)) return () => run("decode", { z: given }).x;
  const { inputs, outputs } = facts.graphs.sample, size = (name) => inputs.find((value) => value.name === name).count;
  const x = given.subarray(0, size("x")), u = given.subarray(size("x")), each = size("u");
  const draws = u.length / each, result = new Float32Array(draws * outputs[0].count);
  return () => {
    for (let i = 0; i < draws; i += facts.draws) {
      const some = Math.min(facts.draws, draws - i);
      result.set(run("sample", { x, u: u.subarray(i * each, (i + some) * each) }, some).z, i * outputs[0].count);
    }
    return result;
  };
};

let call = null;
const answers = {
  load: async (workload, form, file) => {
    call = await load(workload, file);
    return "";
  },
  check: () => Array.from(call().subarray(0, CHECKED)).join(" "),
  run: (workload, form, steps) => {
    const start = clock();
    for (let i = 0; i < Number(steps); i++) call();
    return (clock() - start).toFixed(9);
  },
  resident: () => String(process.memoryUsage().rss),
  drop: () => {
    call = null;
    return "";
  },
};

console.log(`ready\tNode.js ${process.versions.node}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...words] = line.split("\t");
  try {
    const answer = await answers[word](...words);
    console.log(answer === "" ? "ok" : `ok\t${answer}`);
  } catch (error) {
    console.log(`no\t${String(error).replace(/\s+/g, " ").slice(0, 400)}`);
  }
}
