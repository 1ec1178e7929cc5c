// What `cargo xtask load --beside better-auth` measures: the api-key plugin of better-auth, asked in its own process, with its keys in
// PostgreSQL. `node better_auth.mjs DATABASE_URL KEYS SAMPLE TEXTS_FILE ADDRESS_FILE` makes the tables and the keys, writes the texts of
// some of them, then serves, and writes where. It is set up in its own favour: no rate limit, no logs, no telemetry, and its updates
// after the answer.

import { createHash, randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";

const BATCH = 20_000;

const [databaseUrl, keys, sample, textsFile, addressFile] = process.argv.slice(2);
const database = new pg.Pool({ connectionString: databaseUrl, max: 16 });
const auth = betterAuth({
  database,
  baseURL: "http://127.0.0.1",
  secret: randomBytes(32).toString("hex"),
  logger: { disabled: true },
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  emailAndPassword: { enabled: true },
  plugins: [apiKey({ rateLimit: { enabled: false }, deferUpdates: true })],
  advanced: { backgroundTasks: { handler: (task) => void task.catch(() => {}) } },
});

await (await getMigrations(auth.options)).runMigrations();
writeFileSync(textsFile, (await makeKeys(Number(keys), Number(sample))).join("\n") + "\n", { mode: 0o600 });
serve();

// One key is made as everybody makes it, the others as copies of its row: only id and digest differ.
async function makeKeys(count, wanted) {
  const account = { email: "load@example.com", password: randomBytes(16).toString("hex"), name: "load" };
  const { user } = await auth.api.signUpEmail({ body: account });
  const { id: pattern } = await auth.api.createApiKey({ body: { userId: user.id, name: "load" } });
  const { rows } = await database.query(
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'apikey' AND column_name NOT IN ('id', 'key')",
  );
  const others = rows.map((row) => `"${row.column_name}"`).join(", ");
  const copy = `INSERT INTO apikey (id, "key", ${others}) SELECT made.id, made.digest, ${others} FROM apikey AS pattern,
    unnest($1::text[], $2::text[]) AS made (id, digest) WHERE pattern.id = $3`;
  const texts = [];
  for (let done = 0; done < count; done += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - done) }, () => randomBytes(48).toString("base64url"));
    const ids = batch.map(() => randomBytes(16).toString("hex"));
    const digests = batch.map((text) => createHash("sha256").update(text).digest("base64url"));
    await database.query(copy, [ids, digests, pattern]);
    texts.push(...batch.slice(0, Math.max(0, wanted - texts.length)));
  }
  await database.query("ANALYZE");
  return texts;
}

function serve() {
  const server = createServer(async (request, response) => {
    const key = request.headers.authorization?.replace(/^Bearer /, "") ?? "";
    const answer = await auth.api.verifyApiKey({ body: { key } }).catch(() => undefined);
    if (!answer?.valid) {
      response.writeHead(403).end();
      return;
    }
    const { id, referenceId } = answer.key;
    response.writeHead(204, { "key-id": id, "user-id": referenceId }).end();
  });
  server.listen(0, "127.0.0.1", () => {
    // Renamed when it is whole: whoever waits for the file reads all of it.
    writeFileSync(`${addressFile}.part`, `127.0.0.1:${server.address().port}`);
    renameSync(`${addressFile}.part`, addressFile);
  });
}
