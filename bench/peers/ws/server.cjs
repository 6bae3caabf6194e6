// Everything that a client says is sent to everybody in its room, itself included. The path is the room.
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT), perMessageDeflate: false });
server.on("connection", (socket, request) => {
  if (!rooms.has(request.url)) rooms.set(request.url, new Set());
  const room = rooms.get(request.url).add(socket);
  socket.on("message", (data) => {
    for (const one of room) one.send(data, { binary: false });
  });
  socket.on("close", () => room.delete(socket));
});
