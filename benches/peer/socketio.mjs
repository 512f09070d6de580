// Baseline for benchmarks: a Socket.IO server on Node.js with the same events as SecureVOX, without a database or token checks.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], pingInterval: 20000, pingTimeout: 20000 });

io.on("connection", (socket) => {
  socket.on("authenticate", ({ token }, reply) => {
    socket.data.token = token;
    const data = { user_id: socket.id };
    socket.emit("authenticated", data);
    reply({ data });
  });
  socket.on("sync", (_, reply) => reply({ data: { conversations: [] } }));
  socket.on("send_message", async (message, reply) => {
    await socket.join(message.conversation_id);
    const stored = { ...message, seq: 1, sent_at: new Date().toISOString() };
    io.to(message.conversation_id).emit("message", stored);
    reply({ data: stored });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
