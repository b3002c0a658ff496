#include "keeper/protocol.hpp"

#include "keeper/packet_channel.hpp"

#include <gtest/gtest.h>

#include <random>

#include <fcntl.h>
#include <sys/mman.h>

namespace rooster::keeper {
namespace {

Descriptor null_descriptor() {
  return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

Spawn full_spawn() {
  Spawn spawn;
  spawn.machine = "148e21ea7d9e89";
  spawn.argv = {"uvicorn", "app:app", ""};
  spawn.env = {"A=1", "B=two words"};
  spawn.cwd = "/srv";
  spawn.uid = 200001;
  spawn.user = "nobody";
  spawn.cgroup = "hello";
  spawn.kill_signal = 15;
  spawn.kill_timeout = std::chrono::seconds(7);
  spawn.wants_notify = true;
  spawn.fingerprint = "f00d";
  return spawn;
}

template <class T>
std::optional<T> round_trip(Request request) {
  auto decoded = decode_request(encode(NumberedRequest{.id = 42, .request = std::move(request)}));
  if (!decoded || decoded->id != 42) return std::nullopt;
  auto* message = std::get_if<T>(&decoded->request);
  if (message == nullptr) return std::nullopt;
  return std::move(*message);
}

template <class T>
std::optional<T> reply_round_trip(Reply reply) {
  auto decoded = decode_from_keeper(encode(NumberedReply{.id = 7, .reply = std::move(reply)}));
  if (!decoded) return std::nullopt;
  auto* message = std::get_if<NumberedReply>(&*decoded);
  if (message == nullptr || message->id != 7) return std::nullopt;
  auto* one = std::get_if<T>(&message->reply);
  if (one == nullptr) return std::nullopt;
  return std::move(*one);
}

TEST(Protocol, SpawnSurvivesTheRoundTrip) {
  const Spawn sent = full_spawn();
  const auto got = round_trip<Spawn>(full_spawn());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->machine, sent.machine);
  EXPECT_EQ(got->argv, sent.argv);
  EXPECT_EQ(got->env, sent.env);
  EXPECT_EQ(got->cwd, sent.cwd);
  EXPECT_EQ(got->uid, sent.uid);
  EXPECT_EQ(got->gid, std::nullopt);
  EXPECT_EQ(got->user, sent.user);
  EXPECT_EQ(got->cgroup, sent.cgroup);
  EXPECT_EQ(got->kill_signal, sent.kill_signal);
  EXPECT_EQ(got->kill_timeout, sent.kill_timeout);
  EXPECT_TRUE(got->wants_notify);
  EXPECT_EQ(got->fingerprint, sent.fingerprint);
}

TEST(Protocol, DescriptorsArriveInTheirPlaces) {
  Spawned sent{.pid = 5, .start_time = 9, .cgroup = "/c"};
  sent.pidfd = null_descriptor();
  sent.notify = null_descriptor();
  const int notify = sent.notify.get();
  const auto got = reply_round_trip<Spawned>(std::move(sent));
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->pidfd);
  EXPECT_FALSE(got->output);
  EXPECT_EQ(got->notify.get(), notify);
}

TEST(Protocol, ListOfMachinesSurvivesTheRoundTrip) {
  Machines sent{.machines = {}, .has_more = true};
  for (const char* id : {"a", "b"}) {
    Alive alive{
        .machine = id, .fingerprint = "x", .process = {}, .is_frozen = true, .output_tail = "tail"};
    alive.process.output = null_descriptor();
    sent.machines.push_back(std::move(alive));
  }
  const auto got = reply_round_trip<Machines>(std::move(sent));
  ASSERT_TRUE(got);
  ASSERT_EQ(got->machines.size(), 2U);
  EXPECT_TRUE(got->has_more);
  EXPECT_EQ(got->machines[1].machine, "b");
  EXPECT_TRUE(got->machines[1].process.output);
  EXPECT_TRUE(got->machines[0].is_frozen);
  EXPECT_EQ(got->machines[0].output_tail, "tail");
}

TEST(Protocol, ThePrivateNetworksMessagesSurviveTheRoundTrip) {
  Spawn spawn = full_spawn();
  spawn.network = MachineNetwork{.address = *IpAddress::parse("fdaa:0:33::2"),
                                 .address_v4 = *IpAddress::parse("172.19.0.9"),
                                 .hosts = "hosts",
                                 .resolvers = "resolvers"};
  const auto spawned = round_trip<Spawn>(std::move(spawn));
  ASSERT_TRUE(spawned && spawned->network);
  EXPECT_EQ(spawned->network->address_v4.to_string(), "172.19.0.9");
  EXPECT_EQ(spawned->network->resolvers, "resolvers");
  Catch change;
  change.clear = true;
  change.add_ports = {{*IpAddress::parse("fdaa::7"), 5432}};
  change.remove_peers = {{*IpAddress::parse("fdaa::100"), 120}};
  const auto caught = round_trip<Catch>(std::move(change));
  ASSERT_TRUE(caught && caught->add_ports.size() == 1 && caught->remove_peers.size() == 1);
  EXPECT_EQ(caught->add_ports[0].to_string(), "[fdaa::7]:5432");
  EXPECT_EQ(caught->remove_peers[0].bits, 120);
  const auto hub = round_trip<Hub>(Hub{.tun_name = "t", .listeners = 3});
  ASSERT_TRUE(hub);
  EXPECT_EQ(hub->listeners, 3);
  HubReady ready{.no_tun = "why"};
  ready.listeners.push_back(null_descriptor());
  ready.dns_listener = null_descriptor();
  const auto got = reply_round_trip<HubReady>(std::move(ready));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->no_tun, "why");
  EXPECT_EQ(got->listeners.size(), 1U);
  EXPECT_TRUE(got->dns_listener && !got->dns_datagrams);
  Executed executed{.exec = 7, .pid = 8};
  executed.terminal = null_descriptor();
  const auto ran = reply_round_trip<Executed>(std::move(executed));
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->exec, 7U);
  EXPECT_TRUE(ran->terminal && !ran->input);
  const auto event = decode_from_keeper(encode(Event(ExecExited{.exec = 7, .code = 3})));
  ASSERT_TRUE(event);
  EXPECT_EQ(std::get<ExecExited>(std::get<Event>(*event)).code, 3);
}

TEST(Protocol, ThePrivateNetworksNumbersAreBounded) {
  EXPECT_FALSE(round_trip<Hub>(Hub{.tun_name = "a-name-that-is-too-long"}));
  EXPECT_FALSE(round_trip<Hub>(Hub{.tun_name = "../etc"}));
  EXPECT_FALSE(round_trip<Hub>(Hub{.listeners = kMaxListeners + 1}));
  EXPECT_FALSE(round_trip<Sockets>(Sockets{.count = 0}));
  EXPECT_FALSE(round_trip<Sockets>(Sockets{.count = kMaxSocketsPerReply + 1}));
  Catch change;
  change.add_peers = {{IpAddress(), 129}};
  EXPECT_FALSE(round_trip<Catch>(std::move(change)));
  Spawn spawn = full_spawn();
  spawn.network = MachineNetwork{.hosts = std::string(kMaxTextBytes + 1, 'x')};
  EXPECT_FALSE(round_trip<Spawn>(std::move(spawn)));
  Exec exec{.machine = "m", .argv = {std::string("a\0b", 3)}};
  EXPECT_FALSE(round_trip<Exec>(std::move(exec)));
}

TEST(Protocol, ExitedIsAnEvent) {
  const auto got = decode_from_keeper(encode(Event(Exited{.machine = "m", .pid = 3, .signal = 9})));
  ASSERT_TRUE(got);
  const auto* event = std::get_if<Event>(&*got);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(std::get<Exited>(*event).signal, 9);
}

TEST(Protocol, EveryCutOfAMessageIsRefused) {
  const Packet whole = encode(NumberedRequest{.id = 1, .request = full_spawn()});
  for (std::size_t size = 0; size < whole.bytes.size(); ++size)
    EXPECT_FALSE(decode_request({.bytes = whole.bytes.substr(0, size), .descriptors = {}})) << size;
  EXPECT_FALSE(decode_request({.bytes = whole.bytes + '\0', .descriptors = {}}));
  EXPECT_TRUE(decode_request({.bytes = whole.bytes, .descriptors = {}}));
}

TEST(Protocol, AnotherVersionIsRefused) {
  Packet packet = encode(NumberedRequest{.id = 1, .request = Hello{}});
  packet.bytes[0] = static_cast<char>(kProtocolVersion + 1);
  EXPECT_FALSE(decode_request(std::move(packet)));
}

TEST(Protocol, AReplyIsNoRequest) {
  EXPECT_FALSE(decode_request(encode(NumberedReply{.id = 1, .reply = Done{}})));
  EXPECT_FALSE(decode_from_keeper(encode(NumberedRequest{.id = 1, .request = Hello{}})));
}

TEST(Protocol, TheNumberOfDescriptorsMustFit) {
  Packet surplus = encode(NumberedRequest{.id = 1, .request = Hello{}});
  surplus.descriptors.push_back(null_descriptor());
  EXPECT_FALSE(decode_request(std::move(surplus)));
  Store store{.name = "keys", .descriptor = null_descriptor()};
  Packet missing = encode(NumberedRequest{.id = 1, .request = std::move(store)});
  missing.descriptors.clear();
  EXPECT_FALSE(decode_request(std::move(missing)));
}

TEST(Protocol, TextWithAZeroIsRefused) {
  Spawn spawn = full_spawn();
  spawn.argv.push_back(std::string("a\0b", 3));
  EXPECT_FALSE(round_trip<Spawn>(std::move(spawn)));
  Spawn nameless = full_spawn();
  nameless.machine.clear();
  EXPECT_FALSE(round_trip<Spawn>(std::move(nameless)));
}

TEST(Protocol, ListenCountIsBounded) {
  EXPECT_FALSE(round_trip<Listen>(Listen{.name = "", .host = "", .count = 0}));
  EXPECT_FALSE(round_trip<Listen>(
      Listen{.name = "", .host = "", .count = static_cast<std::uint16_t>(kMaxListeners + 1)}));
  EXPECT_TRUE(round_trip<Listen>(Listen{.name = "", .host = ""}));
}

// Not a proof, but every byte of every message is reached; the fuzz target goes on from here.
TEST(Protocol, MutatedBytesAreDecodedOrRefused) {
  std::mt19937 random(1);
  const std::string original = encode(NumberedRequest{.id = 1, .request = full_spawn()}).bytes;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = original;
    for (int flips = 0; flips < 3; ++flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 3 == 0) bytes.resize(random() % bytes.size());
    decode_request({.bytes = bytes, .descriptors = {}});
    if (bytes.size() > 1) bytes[1] = static_cast<char>(2 + i % 2);
    decode_from_keeper({.bytes = bytes, .descriptors = {}});
  }
}

TEST(PacketChannel, ALargePacketTravelsInAMemfd) {
  auto [left, right] = make_channel();
  Packet sent{.bytes = std::string(kMaxMessageBytes, 'x'), .descriptors = {}};
  sent.descriptors.push_back(null_descriptor());
  ASSERT_EQ(send_packet(left.get(), sent), Sending::Sent);
  Packet got;
  ASSERT_EQ(receive_packet(right.get(), got), Receiving::Received);
  EXPECT_EQ(got.bytes, sent.bytes);
  EXPECT_EQ(got.descriptors.size(), 1U);
}

TEST(PacketChannel, AnUnsealedMemfdIsNotRead) {
  auto [left, right] = make_channel();
  Packet sent{.bytes = "\xFF", .descriptors = {}};
  sent.descriptors.emplace_back(::memfd_create("unsealed", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(sent.descriptors.front().get(), 100), 0);
  ASSERT_EQ(send_packet(left.get(), sent), Sending::Sent);
  Packet got;
  ASSERT_EQ(receive_packet(right.get(), got), Receiving::Received);
  EXPECT_TRUE(got.bytes.empty());
  EXPECT_FALSE(decode_request(std::move(got)));
}

TEST(PacketChannel, TooLargeIsImpossibleAndAClosedPeerIsGone) {
  auto [left, right] = make_channel();
  EXPECT_EQ(
      send_packet(left.get(), {.bytes = std::string(kMaxMessageBytes + 1, 'x'), .descriptors = {}}),
      Sending::Impossible);
  right.reset();
  EXPECT_EQ(send_packet(left.get(), {.bytes = "x", .descriptors = {}}), Sending::Gone);
  Packet got;
  EXPECT_EQ(receive_packet(left.get(), got), Receiving::Gone);
}

TEST(PacketChannel, AFullSocketWouldBlock) {
  auto [left, right] = make_channel();
  Sending last = Sending::Sent;
  for (int i = 0; i < 100000 && last == Sending::Sent; ++i)
    last = send_packet(left.get(), {.bytes = std::string(1000, 'x'), .descriptors = {}});
  EXPECT_EQ(last, Sending::WouldBlock);
}

}  // namespace
}  // namespace rooster::keeper
