// Rooms over Socket.IO: joined by the event "sub", written to by "pub".
// node server.js HOST:PORT [REDIS_URL]; with a URL the Redis streams adapter and recovery are on.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

async function main() {
  const [host, port] = process.argv[2].split(":");
  const url = process.argv[3];
  const options = { transports: ["websocket"], perMessageDeflate: false, serveClient: false };
  if (url) {
    const { createClient } = require("@redis/client");
    const { createAdapter } = require("@socket.io/redis-streams-adapter");
    const client = createClient({ url });
    await client.connect();
    options.adapter = createAdapter(client);
    options.connectionStateRecovery = {};
  }
  const server = createServer();
  const io = new Server(server, options);
  io.on("connection", (socket) => {
    socket.on("sub", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("pub", (room, payload) => io.to(room).emit("m", payload));
  });
  server.listen(Number(port), host);
}

main();
