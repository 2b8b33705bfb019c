// Calls the endpoints as a JavaScript program does: node generate.mjs <address> <prompt> <seed>.
// Prints one line of JSON.
import { createHash } from "node:crypto";
import { Client } from "@gradio/client";

const [address, prompt, seed] = process.argv.slice(2);
const app = await Client.connect(address);
const models = (await app.predict("/models")).data[0];
const given = { prompt, seed: Number(seed), steps: 3, width: 64, height: 64, num_images: 2 };
const pictures = (await app.predict("/generate", given)).data[0];
const hashes = [];
for (const picture of pictures) {
  const file = await (await fetch(picture.image.url)).arrayBuffer();
  hashes.push(createHash("sha256").update(Buffer.from(file)).digest("hex"));
}
let refusal = "";
try {
  await app.predict("/generate", { prompt: " " });
} catch (error) {
  refusal = error.message;
}
console.log(
  JSON.stringify({
    models: models.map((model) => model.name),
    seeds: pictures.map((picture) => picture.seed),
    recipes: pictures.map((picture) => picture.recipe),
    hashes,
    refusal,
  }),
);
process.exit(0);
