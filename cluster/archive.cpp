#include "cluster/archive.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>

namespace rooster::cluster {
namespace {

// A change of the schema is one more step, never a changed one.
constexpr std::array<std::string_view, 1> kSteps{R"(
CREATE TABLE network (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE,
                      next_peer INTEGER NOT NULL) STRICT;
CREATE TABLE machine (id TEXT PRIMARY KEY, part INTEGER NOT NULL UNIQUE) STRICT;
CREATE TABLE flycast (network INTEGER NOT NULL, app TEXT NOT NULL COLLATE NOCASE,
                      n INTEGER NOT NULL, PRIMARY KEY (network, app), UNIQUE (network, n)) STRICT;
CREATE TABLE peer (key BLOB PRIMARY KEY, preshared BLOB, name TEXT NOT NULL COLLATE NOCASE,
                   network INTEGER NOT NULL, peer_index INTEGER NOT NULL, address BLOB NOT NULL,
                   ephemeral INTEGER NOT NULL, region TEXT NOT NULL, token TEXT NOT NULL,
                   grants TEXT NOT NULL, apps TEXT NOT NULL, rights INTEGER NOT NULL,
                   created INTEGER NOT NULL, expires INTEGER, keepalive INTEGER NOT NULL,
                   UNIQUE (network, name), UNIQUE (network, peer_index)) STRICT;
CREATE TABLE memory (key BLOB PRIMARY KEY, address BLOB NOT NULL, port INTEGER NOT NULL,
                     received BLOB NOT NULL, sent BLOB NOT NULL, handshake INTEGER NOT NULL) STRICT;
CREATE TABLE token (id TEXT PRIMARY KEY, secret_hash BLOB NOT NULL, network INTEGER NOT NULL,
                    apps TEXT NOT NULL, rights INTEGER NOT NULL, note TEXT NOT NULL,
                    created INTEGER NOT NULL, expires INTEGER) STRICT;
CREATE TABLE audit (id INTEGER PRIMARY KEY, token TEXT NOT NULL, peer TEXT NOT NULL,
                    app TEXT NOT NULL, machine TEXT NOT NULL, argv TEXT NOT NULL,
                    start INTEGER NOT NULL, end INTEGER, exit INTEGER,
                    bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL) STRICT;
CREATE INDEX audit_start ON audit (start);
)"};

std::int64_t to_number(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::optional<std::int64_t> to_number(const std::optional<WallTime>& time) {
  return time ? std::optional(to_number(*time)) : std::nullopt;
}

WallTime to_time(std::int64_t number) {
  return WallTime(std::chrono::milliseconds(number));
}

// Texts in one column, each behind its length: what is in them doesn't matter.
std::string join(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += std::to_string(text.size()) + ':' + text;
  return joined;
}

std::vector<std::string> split(std::string_view joined) {
  std::vector<std::string> texts;
  while (!joined.empty()) {
    std::size_t size = 0;
    std::size_t colon = 0;
    for (; colon < joined.size() && joined[colon] >= '0' && joined[colon] <= '9'; ++colon) {
      size = size * 10 + static_cast<std::size_t>(joined[colon] - '0');
    }
    if (colon >= joined.size() || joined.size() - colon - 1 < size) break;
    texts.emplace_back(joined.substr(colon + 1, size));
    joined.remove_prefix(colon + 1 + size);
  }
  return texts;
}

template <std::size_t Size>
std::array<std::uint8_t, Size> bytes_at(const Statement& row, int column) {
  std::array<std::uint8_t, Size> bytes{};
  const auto blob = row.blob(column);
  std::copy_n(blob.begin(), std::min(Size, blob.size()), bytes.begin());
  return bytes;
}

std::optional<WallTime> time_at(const Statement& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(to_time(row.integer(column)));
}

NetworkId network_at(const Statement& row, int column) {
  return NetworkId{static_cast<std::uint32_t>(row.integer(column))};
}

Row network_row(const Statement& row) {
  return NetworkRow{.network = {.id = network_at(row, 0), .name = row.text(1)},
                    .next_peer = static_cast<std::uint32_t>(row.integer(2))};
}

Row machine_row(const Statement& row) {
  return MachineRow{.machine = {row.text(0)}, .part = static_cast<std::uint32_t>(row.integer(1))};
}

Row flycast_row(const Statement& row) {
  return FlycastRow{.network = network_at(row, 0),
                    .app = row.text(1),
                    .n = static_cast<std::uint32_t>(row.integer(2))};
}

Row peer_row(const Statement& row) {
  Peer peer;
  peer.key = bytes_at<32>(row, 0);
  if (!row.is_null(1)) peer.preshared = bytes_at<32>(row, 1);
  peer.name = row.text(2);
  peer.network = network_at(row, 3);
  peer.index = static_cast<std::uint32_t>(row.integer(4));
  peer.address = IpAddress::from_bytes(bytes_at<16>(row, 5));
  peer.ephemeral = row.integer(6) != 0;
  peer.region = row.text(7);
  peer.token = row.text(8);
  peer.grants = row.text(9);
  peer.apps = split(row.text(10));
  peer.rights = Rights::from_bits(static_cast<unsigned>(row.integer(11)));
  peer.created = to_time(row.integer(12));
  peer.expires = time_at(row, 13);
  peer.keepalive_seconds = static_cast<std::uint16_t>(row.integer(14));
  return peer;
}

Row memory_row(const Statement& row) {
  MemoryRow memory;
  memory.key = bytes_at<32>(row, 0);
  memory.memory.endpoint = {.address = IpAddress::from_bytes(bytes_at<16>(row, 1)),
                            .port = static_cast<std::uint16_t>(row.integer(2))};
  memory.memory.received = bytes_at<12>(row, 3);
  memory.memory.sent = bytes_at<12>(row, 4);
  memory.memory.last_handshake = to_time(row.integer(5));
  return memory;
}

Row token_row(const Statement& row) {
  return Token{.id = row.text(0),
               .secret_hash = bytes_at<32>(row, 1),
               .network = network_at(row, 2),
               .apps = split(row.text(3)),
               .rights = Rights::from_bits(static_cast<unsigned>(row.integer(4))),
               .note = row.text(5),
               .created = to_time(row.integer(6)),
               .expires = time_at(row, 7)};
}

AuditEntry audit_row(const Statement& row) {
  return {.id = static_cast<std::uint64_t>(row.integer(0)),
          .token = row.text(1),
          .peer = row.text(2),
          .app = row.text(3),
          .machine = row.text(4),
          .argv = split(row.text(5)),
          .start = to_time(row.integer(6)),
          .end = time_at(row, 7),
          .exit_status =
              row.is_null(8) ? std::nullopt : std::optional(static_cast<int>(row.integer(8))),
          .bytes_in = static_cast<std::uint64_t>(row.integer(9)),
          .bytes_out = static_cast<std::uint64_t>(row.integer(10))};
}

struct Table {
  std::string_view select;
  Row (*read)(const Statement&);
};

// Networks first: what follows lies in them.
constexpr std::array<Table, 6> kTables{{
    {"SELECT id, name, next_peer FROM network", network_row},
    {"SELECT id, part FROM machine", machine_row},
    {"SELECT network, app, n FROM flycast", flycast_row},
    {"SELECT key, preshared, name, network, peer_index, address, ephemeral, region, token, grants,"
     " apps, rights, created, expires, keepalive FROM peer",
     peer_row},
    {"SELECT key, address, port, received, sent, handshake FROM memory", memory_row},
    {"SELECT id, secret_hash, network, apps, rights, note, created, expires FROM token", token_row},
}};

// Each kind of row as one statement.
struct Writer {
  Store& store;

  template <class... Values>
  Result<> run(std::string_view sql, const Values&... values) {
    const auto statement = store.prepare(sql);
    if (!statement) return fail(statement.error());
    ((*statement)->bind(values), ...);
    return (*statement)->run();
  }
  static std::span<const std::uint8_t> blob(std::span<const std::uint8_t> bytes) { return bytes; }
  static std::int64_t number(NetworkId id) { return id.value; }

  Result<> operator()(const NetworkRow& row) {
    return run(
        "INSERT INTO network VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "next_peer = excluded.next_peer",
        number(row.network.id), std::string_view(row.network.name), std::int64_t{row.next_peer});
  }
  Result<> operator()(const MachineRow& row) {
    return run("INSERT OR REPLACE INTO machine VALUES (?, ?)", std::string_view(row.machine.value),
               std::int64_t{row.part});
  }
  Result<> operator()(const FlycastRow& row) {
    return run("INSERT OR REPLACE INTO flycast VALUES (?, ?, ?)", number(row.network),
               std::string_view(row.app), std::int64_t{row.n});
  }
  Result<> operator()(const Peer& peer) {
    std::optional<std::span<const std::uint8_t>> preshared;
    if (peer.preshared) preshared = *peer.preshared;
    return run("INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               blob(peer.key), preshared, std::string_view(peer.name), number(peer.network),
               std::int64_t{peer.index}, blob(peer.address.bytes()), std::int64_t{peer.ephemeral},
               std::string_view(peer.region), std::string_view(peer.token),
               std::string_view(peer.grants), std::string_view(join(peer.apps)),
               std::int64_t{peer.rights.bits()}, to_number(peer.created), to_number(peer.expires),
               std::int64_t{peer.keepalive_seconds});
  }
  Result<> operator()(const PeerGone& row) {
    if (auto done = run("DELETE FROM memory WHERE key = ?", blob(row.key)); !done) return done;
    return run("DELETE FROM peer WHERE key = ?", blob(row.key));
  }
  Result<> operator()(const MemoryRow& row) {
    return run("INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?, ?, ?)", blob(row.key),
               blob(row.memory.endpoint.address.bytes()), std::int64_t{row.memory.endpoint.port},
               blob(row.memory.received), blob(row.memory.sent),
               to_number(row.memory.last_handshake));
  }
  Result<> operator()(const Token& token) {
    return run("INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
               std::string_view(token.id), blob(token.secret_hash), number(token.network),
               std::string_view(join(token.apps)), std::int64_t{token.rights.bits()},
               std::string_view(token.note), to_number(token.created), to_number(token.expires));
  }
  Result<> operator()(const TokenGone& row) {
    return run("DELETE FROM token WHERE id = ?", std::string_view(row.id));
  }
  Result<> operator()(const AuditEntry& row) {
    std::optional<std::int64_t> exit_status;
    if (row.exit_status) exit_status = *row.exit_status;
    return run("INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               static_cast<std::int64_t>(row.id), std::string_view(row.token),
               std::string_view(row.peer), std::string_view(row.app), std::string_view(row.machine),
               std::string_view(join(row.argv)), to_number(row.start), to_number(row.end),
               exit_status, static_cast<std::int64_t>(row.bytes_in),
               static_cast<std::int64_t>(row.bytes_out));
  }
};

}  // namespace

Result<Archive> Archive::open(const std::string& file) {
  auto store = Store::open(file);
  if (!store) return fail(store.error());
  if (auto done = store->migrate(kSteps); !done) return fail(done.error());
  Archive archive(std::move(*store));
  // Of the ledger the oldest go, once a start.
  auto trim = archive.store_.prepare(
      "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY start DESC LIMIT -1 OFFSET ?)");
  if (!trim) return fail(trim.error());
  if (auto done = (*trim)->bind(kMostAudits).run(); !done) return fail(done.error());
  return archive;
}

Result<Rows> Archive::load() {
  Rows rows;
  for (const Table& table : kTables) {
    const auto statement = store_.prepare(table.select);
    if (!statement) return fail(statement.error());
    for (;;) {
      const auto row = (*statement)->step();
      if (!row) return fail(row.error());
      if (!*row) break;
      rows.push_back(table.read(**statement));
    }
  }
  return rows;
}

Result<> Archive::write(const Rows& rows) {
  Transaction transaction(store_);
  for (const Row& row : rows) {
    if (auto done = std::visit(Writer{store_}, row); !done) return done;
  }
  return transaction.commit();
}

Result<std::vector<AuditEntry>> Archive::audits(std::string_view app, std::size_t most) {
  const auto statement = store_.prepare(
      "SELECT id, token, peer, app, machine, argv, start, end, exit, bytes_in, bytes_out "
      "FROM audit WHERE ?1 = '' OR app = ?1 ORDER BY start DESC LIMIT ?2");
  if (!statement) return fail(statement.error());
  (*statement)->bind(app).bind(static_cast<std::int64_t>(most));
  std::vector<AuditEntry> entries;
  for (;;) {
    const auto row = (*statement)->step();
    if (!row) return fail(row.error());
    if (!*row) return entries;
    entries.push_back(audit_row(**statement));
  }
}

}  // namespace rooster::cluster
