#include "tunnel/lwip_stack.hpp"

#include "tests/tunnel/lwip_wire.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::OtherProcess;
using testing::run_until;
using testing::Wire;
using testing::WireOptions;
using Status = ReadResult::Status;

constexpr std::uint16_t kEcho = 7;     // all that comes, then the end
constexpr std::uint16_t kReset = 9;    // goes away without reading
constexpr std::uint16_t kCut = 10;     // reads, then says that its end is a reset
constexpr std::uint16_t kTotal = 11;   // reads to the end, then tells how much there was
constexpr std::uint16_t kWhere = 21;   // tells the address it was called by
constexpr std::uint16_t kSilent = 19;  // never reads
constexpr std::uint16_t kUnwanted = 13;

const IpAddress kOurs = *IpAddress::parse("fdaa:1:2:a7b::1");
const IpAddress kTheirs = *IpAddress::parse("fdaa:1:2::3");

/// The other side: a gateway that accepts any address.
class Server {
 public:
  Server(Descriptor link, WireOptions options) : group_(loop_) {
    auto stack = make_lwip_stack(loop_, {.address = kTheirs});
    if (!stack) ::_exit(1);
    stack_ = std::move(*stack);
    Inbound inbound;
    inbound.is_wanted = [](const Endpoint& local, const Endpoint&) {
      return local.port != kUnwanted;
    };
    inbound.accepted = [this](Dialled one) { group_.spawn(serve(std::move(one))); };
    if (!stack_->listen(std::move(inbound))) ::_exit(1);
    wire_ = std::make_unique<Wire>(loop_, stack_->packets(), std::move(link), options);
  }
  void run() {
    while (!wire_->is_cut()) loop_.run_for(100ms);
  }

 private:
  Task<> serve(Dialled one) {
    Waiter waiter(group_);
    if (one.local.port == kReset) co_return co_await reset(std::move(one), waiter);
    Stream stream(loop_, std::move(one.fd));
    stream.watch_reset(one.reset);
    if (one.local.port == kSilent) co_await waiter.wait(kNever);
    if (one.local.port == kWhere) stream.write(one.local.to_string());
    std::vector<char> buffer(64 * 1024);
    std::size_t total = 0;
    while (one.local.port != kWhere) {
      const ReadResult got = stream.read(buffer);
      if (got.status == Status::Later) {
        co_await waiter.wait(kNever, stream.readable());
        continue;
      }
      if (got.status != Status::Some) break;
      total += got.bytes;
      if (one.local.port == kCut) {
        stream.tell_reset();
        co_return {};
      }
      if (one.local.port == kEcho) stream.write({buffer.data(), got.bytes});
      while (stream.has_pending() && !stream.is_broken()) {
        co_await waiter.wait(kNever, stream.writable());
        stream.flush();
      }
    }
    if (one.local.port == kTotal) stream.write(std::to_string(total) + std::string(100'000, '.'));
    while (stream.has_pending() && !stream.is_broken()) {
      co_await waiter.wait(kNever, stream.writable());
      stream.flush();
    }
    stream.shutdown_write();
    co_return {};
  }

  Task<> reset(Dialled one, Waiter& waiter) {
    Pollable pollable(loop_, std::move(one.fd));
    co_await waiter.wait(kNever, {&pollable, Pollable::kReadable});
    co_return {};  // what came is unread: that is a reset
  }

  Loop loop_;
  TaskGroup group_;
  std::unique_ptr<Stack> stack_;
  std::unique_ptr<Wire> wire_;
};

/// Our side.
class LwipStackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_lwip_built_in()) GTEST_SKIP() << "lwIP is not built in: scripts/setup fetches it";
  }
  void connect(WireOptions there = {}, WireOptions here = {}) {
    other_ = std::make_unique<OtherProcess>(
        [there](Descriptor link) { (new Server(std::move(link), there))->run(); });
    loop_ = std::make_unique<Loop>();
    group_ = std::make_unique<TaskGroup>(*loop_);
    auto stack = make_lwip_stack(*loop_, {.address = kOurs});
    ASSERT_TRUE(stack) << stack.error().detail;
    stack_ = std::move(*stack);
    wire_ = std::make_unique<Wire>(*loop_, stack_->packets(), other_->take_link(), here);
  }
  void TearDown() override {
    wire_.reset();
    stack_.reset();
    if (loop_) loop_->run_for(1ms);
  }

  struct Talk {
    std::string sent;
    std::string got;
    bool half_close = true;
    Status end = Status::Later;
    Fault fault = Fault::None;
    Endpoint local;
    Endpoint remote;
    bool done = false;
    std::size_t accepted = 0;  // bytes that the stack took
  };

  /// Sends all, reads to the end.
  Task<> talk(Endpoint to, Talk& out, Duration patience = 30s) {
    Waiter waiter(*group_);
    auto dialled = co_await stack_->dial(to, waiter, loop_->now() + patience);
    if (!dialled) {
      out.fault = dialled.error().fault;
      EXPECT_EQ(dialled.error().reached, Reached::No);
      out.done = true;
      co_return {};
    }
    out.local = dialled->local;
    out.remote = dialled->remote;
    Stream stream(*loop_, std::move(dialled->fd));
    stream.watch_reset(dialled->reset);
    std::vector<char> buffer(64 * 1024);
    bool ended = false;
    while (out.end == Status::Later) {
      while (!stream.has_pending() && out.accepted < out.sent.size() && !stream.is_broken()) {
        const auto piece = std::string_view(out.sent).substr(out.accepted, 64 * 1024);
        stream.write(piece);
        out.accepted += piece.size();
      }
      if (!ended && out.half_close && out.accepted == out.sent.size() && !stream.has_pending()) {
        stream.shutdown_write();
        ended = true;
      }
      const ReadResult got = stream.read(buffer);
      if (got.status == Status::Some) {
        out.got.append(buffer.data(), got.bytes);
      } else if (got.status == Status::Later) {
        const Interest writable = stream.has_pending() ? stream.writable() : Interest{};
        const auto bits = static_cast<std::uint8_t>(Pollable::kReadable | writable.bits);
        if (co_await waiter.wait(kNever, {&stream.pollable(), bits}) == Woke::Interrupted) break;
        if (stream.has_pending()) stream.flush();
      } else {
        out.end = got.status;
      }
    }
    out.done = true;
    co_return {};
  }

  Talk converse(Endpoint to, std::string sent, bool half_close = true) {
    Talk out{.sent = std::move(sent), .got = {}, .half_close = half_close};
    group_->spawn(talk(to, out));
    const auto is_done = [&] { return out.done; };
    if (!run_until(*loop_, is_done)) {
      ADD_FAILURE() << "it never ended";
      group_->interrupt_all(Fault::Interrupted);
      run_until(*loop_, is_done);
    }
    return out;
  }

  std::unique_ptr<OtherProcess> other_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<TaskGroup> group_;
  std::unique_ptr<Stack> stack_;
  std::unique_ptr<Wire> wire_;
};

std::string pattern(std::size_t bytes) {
  std::string out(bytes, '\0');
  std::mt19937_64 random(bytes);
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(&out[i], &word, 8);
  }
  return out;
}

TEST_F(LwipStackTest, TenMegabytesComeBackWhole) {
  connect();
  const std::string sent = pattern(10'000'000);
  const Talk out = converse({kTheirs, kEcho}, sent);
  EXPECT_EQ(out.fault, Fault::None);
  EXPECT_TRUE(out.got == sent) << out.got.size();
  EXPECT_EQ(out.end, Status::End);
  EXPECT_EQ(out.remote, (Endpoint{kTheirs, kEcho}));
  EXPECT_EQ(out.local.address, kOurs);
  EXPECT_NE(out.local.port, 0);
}

TEST_F(LwipStackTest, OurEndDoesNotEndTheOtherDirection) {
  connect();
  const Talk out = converse({kTheirs, kTotal}, pattern(300'000));
  EXPECT_TRUE(out.got == "300000" + std::string(100'000, '.')) << out.got.substr(0, 20);
  EXPECT_EQ(out.end, Status::End);
}

TEST_F(LwipStackTest, TheirEndDoesNotEndOurs) {
  connect();
  const Talk out = converse({kTheirs, kWhere}, "", false);
  EXPECT_EQ(out.end, Status::End);
}

TEST_F(LwipStackTest, AResetIsNotMistakenForAnEnd) {
  connect();
  const Talk out = converse({kTheirs, kReset}, "unread", false);
  EXPECT_EQ(out.end, Status::Failed);
}

TEST_F(LwipStackTest, AToldResetArrivesAsOne) {
  connect();
  const Talk out = converse({kTheirs, kCut}, "read", false);
  EXPECT_EQ(out.end, Status::Failed);
}

TEST_F(LwipStackTest, WhatNobodyWantsIsRefused) {
  connect();
  EXPECT_EQ(converse({kTheirs, kUnwanted}, "").fault, Fault::UpstreamRefused);
}

TEST_F(LwipStackTest, SilenceIsATimeout) {
  connect({}, {.loss = 1});
  Talk out;
  group_->spawn(talk({kTheirs, kEcho}, out, 200ms));
  EXPECT_TRUE(run_until(*loop_, [&] { return out.done; }));
  EXPECT_EQ(out.fault, Fault::UpstreamConnectTimeout);
}

TEST_F(LwipStackTest, AnInterruptedDialSaysWhy) {
  connect({}, {.loss = 1});
  Talk out;
  group_->spawn(talk({kTheirs, kEcho}, out));
  loop_->run_for(5ms);
  group_->interrupt_all(Fault::Draining);
  EXPECT_TRUE(run_until(*loop_, [&] { return out.done; }));
  EXPECT_EQ(out.fault, Fault::Draining);
}

TEST_F(LwipStackTest, AnyAddressAndPortIsAccepted) {
  connect();
  std::map<std::string, std::unique_ptr<Talk>> talks;
  for (const char* address : {"fdaa:0:33:44::77", "fdaa:7:8:9::1", "fdaa:1:2::3"}) {
    auto& out = talks[Endpoint{*IpAddress::parse(address), kWhere}.to_string()];
    out = std::make_unique<Talk>();
    group_->spawn(talk({*IpAddress::parse(address), kWhere}, *out));
  }
  const auto all_done = [&] {
    return std::ranges::all_of(talks, [](const auto& one) { return one.second->done; });
  };
  EXPECT_TRUE(run_until(*loop_, all_done));
  for (const auto& [where, out] : talks) EXPECT_EQ(out->got, where);
}

TEST_F(LwipStackTest, FiveHundredConnectionsAtOnceKeepTheirBytesApart) {
  connect();
  std::vector<std::unique_ptr<Talk>> talks;
  for (int i = 0; i < 500; ++i) {
    talks.push_back(std::make_unique<Talk>());
    talks.back()->sent = std::to_string(i) + pattern(20'000 + static_cast<std::size_t>(i));
    group_->spawn(talk({kTheirs, kEcho}, *talks.back()));
  }
  const auto all_done = [&] {
    return std::ranges::all_of(talks, [](const auto& one) { return one->done; });
  };
  EXPECT_TRUE(run_until(*loop_, all_done));
  for (const auto& one : talks) {
    EXPECT_TRUE(one->got == one->sent) << one->got.size() << describe(one->fault).token;
  }
}

TEST_F(LwipStackTest, LossCostsTimeAndNoBytes) {
  connect({.loss = 0.02}, {.loss = 0.02});
  const std::string sent = pattern(1'000'000);
  const Talk out = converse({kTheirs, kEcho}, sent);
  EXPECT_TRUE(out.got == sent) << out.got.size();
  EXPECT_EQ(out.end, Status::End);
}

TEST_F(LwipStackTest, AWindowFillsALongPath) {
  connect({.delay = 20ms}, {.delay = 20ms});
  const std::string sent = pattern(4'000'000);
  const Talk out = converse({kTheirs, kTotal}, sent);
  EXPECT_TRUE(out.got.starts_with("4000000.")) << out.got.substr(0, 10);
}

TEST_F(LwipStackTest, WhoNeverReadsHoldsTheSenderBack) {
  connect();
  Talk out{.sent = std::string(64 * 1024 * 1024, 'x'), .got = {}};
  group_->spawn(talk({kTheirs, kSilent}, out));
  std::size_t before = 1;
  EXPECT_TRUE(run_until(*loop_, [&] {  // until nothing moves
    for (int turn = 0; turn < 200; ++turn) loop_->run_for(1ms);
    return std::exchange(before, out.accepted) == out.accepted && out.accepted > 0;
  }));
  EXPECT_LT(out.accepted, 16u * 1024 * 1024);
  EXPECT_FALSE(out.done);
  group_->interrupt_all(Fault::Interrupted);
  EXPECT_TRUE(run_until(*loop_, [&] { return out.done; }));
}

TEST_F(LwipStackTest, NoiseIsDropped) {
  connect();
  std::mt19937 random(3);
  std::vector<std::uint8_t> bytes(1500);
  const std::uint64_t before = stack_->packets().dropped();
  for (int i = 0; i < 100'000; ++i) {
    const std::size_t size = random() % bytes.size();
    for (std::size_t at = 0; at < std::min<std::size_t>(size, 80); ++at) {
      bytes[at] = static_cast<std::uint8_t>(random());
    }
    if (i % 2 == 0 && size > 60) {  // as far as TCP to us
      bytes[0] = 0x60;
      bytes[4] = 0;
      bytes[5] = static_cast<std::uint8_t>(random() % 21);
      bytes[6] = i % 4 == 0 ? 6 : static_cast<std::uint8_t>(random());
      std::ranges::copy(kTheirs.bytes(), bytes.begin() + 8);
      std::ranges::copy(kOurs.bytes(), bytes.begin() + 24);
    }
    const Packet packet(bytes.data(), size);
    stack_->packets().give({&packet, 1});
  }
  EXPECT_GT(stack_->packets().dropped(), before + 50'000);
  EXPECT_EQ(converse({kTheirs, kWhere}, "").got, Endpoint(kTheirs, kWhere).to_string());
}

TEST_F(LwipStackTest, ThereIsOneInAProcess) {
  connect();
  EXPECT_FALSE(make_lwip_stack(*loop_, {.address = kOurs}));
  wire_.reset();
  stack_.reset();
  auto again = make_lwip_stack(*loop_, {.address = kOurs});
  EXPECT_TRUE(again);
}

TEST_F(LwipStackTest, ManyShortConnectionsOneAfterTheOther) {
  connect();
  for (int i = 0; i < 2000; ++i) {
    const Talk out = converse({kTheirs, kEcho}, "ping");
    ASSERT_EQ(out.got, "ping") << i << describe(out.fault).token;
  }
}

}  // namespace
}  // namespace rooster::tunnel
