// Loading and reloading a folder of apps: all or nothing, only changed files reread, conflicts with
// both places.
#include "config/config_set.hpp"

#include "tests/config/shared.hpp"

#include <chrono>
#include <cstdlib>

#include <sys/stat.h>

namespace rooster::config {
namespace {

using Clock = std::chrono::steady_clock;

class ConfigSetTest : public testing::Test {
 protected:
  ConfigSetTest() { folder_.write("rooster.toml", "region = 'gru'\n"); }

  std::string node_file() const { return (folder_.path() / "rooster.toml").string(); }
  void write_app(const std::string& stem, std::string_view text) const {
    folder_.write("apps/" + stem + ".toml", text);
  }
  std::shared_ptr<const ConfigSet> loaded(LoadOptions options = {}) const {
    auto result = load(node_file(), options);
    EXPECT_TRUE(result.set) << all_rendered(result.diagnostics);
    return result.set;
  }

  TemporaryFolder folder_;
};

constexpr std::string_view kHello = "app = 'hello'\n[processes]\napp = 'run'\n[http_service]\n";
constexpr std::string_view kOther = "app = 'other'\n[processes]\napp = 'run'\n[http_service]\n";

TEST_F(ConfigSetTest, LoadsEveryTomlFileOfTheFolderByName) {
  write_app("b", kHello);
  write_app("a", kOther);
  write_app(".hidden", "broken");
  folder_.write("apps/notes.txt", "broken");
  folder_.write("apps/deeper/x.toml", "broken");
  const auto set = loaded();
  ASSERT_EQ(set->apps.size(), 2U);
  EXPECT_EQ(set->apps[0]->name, "hello");
  EXPECT_EQ(set->find("other")->file, folder_.path() / "apps/a.toml");
  EXPECT_EQ(set->find("nobody"), nullptr);
  EXPECT_EQ(set->node.reloadable.region, "gru");
  EXPECT_EQ(set->find("hello")->primary_region, "gru");
}

TEST_F(ConfigSetTest, ReportsAllErrorsOfAllFilesAtOnce) {
  folder_.write("rooster.toml", "workers = 'two'\n");
  write_app("a", "app = 1\n");
  write_app("b", "[http_service]\ninternal_port = -1\n");
  const auto result = load(node_file());
  EXPECT_FALSE(result.set);
  const auto text = all_rendered(result.diagnostics);
  for (const auto* part :
       {"rooster.toml:1:11: workers", "apps/a.toml:1:7: app", "apps/b.toml:2:17: http_service"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST_F(ConfigSetTest, AMissingFileOrFolderSaysSo) {
  const auto folder = load(node_file());
  EXPECT_FALSE(folder.set);
  EXPECT_NE(all_rendered(folder.diagnostics).find("apps: the folder"), std::string::npos);
  const auto file = load((folder_.path() / "none.toml").string());
  EXPECT_FALSE(file.set);
  EXPECT_NE(all_rendered(file.diagnostics).find("can't be read (No such file"), std::string::npos);
}

TEST_F(ConfigSetTest, ANamedPipeIsRefusedAndDoesNotHang) {
  write_app("a", kHello);
  ASSERT_EQ(mkfifo((folder_.path() / "apps/pipe.toml").c_str(), 0600), 0);
  EXPECT_FALSE(load(node_file()).set);
}

TEST_F(ConfigSetTest, TwoAppsOfOneNameAreAnErrorThatNamesBothPlaces) {
  write_app("a", "# first\napp = 'x'\n");
  write_app("b", "app = 'x'\n");
  const auto result = load(node_file());
  EXPECT_FALSE(result.set);
  const auto text = all_rendered(result.diagnostics);
  const auto apps = (folder_.path() / "apps").string();
  EXPECT_NE(text.find(apps + "/b.toml:1:7: app: the name \"x\" is taken by " + apps +
                      "/a.toml:2:7; give one of them another name\n  app = 'x'\n        ^"),
            std::string::npos)
      << text;
}

TEST_F(ConfigSetTest, TwoAppsOnOneRouteAreAnErrorThatNamesBothPlaces) {
  write_app("a", "app = 'a'\n[rooster]\nhostnames = ['x.com', '*.y.com']\n");
  write_app("b", "app = 'b'\n[rooster]\nhostnames = ['z.com', '*.Y.com']\n");
  write_app("c", "app = 'c'\n[rooster]\nhostnames = ['a.app.dev']\n");
  const auto result = load(node_file());
  EXPECT_FALSE(result.set);
  const auto text = all_rendered(result.diagnostics);
  EXPECT_NE(text.find("b.toml:3:23: rooster.hostnames[1]: the route *.y.com is taken by"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("a.toml:3:23; remove it from one of them"), std::string::npos) << text;
  EXPECT_NE(text.find("c.toml:3:14: rooster.hostnames[0]: the route a.app.dev is taken by"),
            std::string::npos)
      << text;
}

TEST_F(ConfigSetTest, TheGatewaysNameIsTheNodesOwn) {
  write_app("a", "app = 'Rooster'\n");
  write_app("b", "app = 'b'\n[rooster]\nhostnames = ['x.com', 'rooster.app.dev']\n");
  const auto text = all_rendered(load(node_file()).diagnostics);
  EXPECT_NE(text.find("a.toml:1:7: app: \"rooster\" is the node's own name"), std::string::npos)
      << text;
  write_app("a", "app = 'a'\n");
  const auto result = load(node_file());
  EXPECT_FALSE(result.set);
  EXPECT_NE(all_rendered(result.diagnostics)
                .find("b.toml:3:23: rooster.hostnames[1]: rooster.app.dev is the node's own"),
            std::string::npos);
}

TEST_F(ConfigSetTest, APrivateNetworkComesAndGoesWithARestart) {
  write_app("a", "app = 'a'\n");
  const auto set = loaded();
  folder_.write("rooster.toml", "[wireguard]\n");
  const auto result = reload(set);
  ASSERT_TRUE(result.set);
  EXPECT_FALSE(result.set->node.fixed.wireguard);
  EXPECT_EQ(result.needs_restart,
            (std::vector<std::string>{"[wireguard]", "[rooster] network_mode"}));
}

TEST_F(ConfigSetTest, TwoPublicAppsOnOneRawPortAreAnError) {
  const std::string raw =
      "[rooster]\npublic = true\n[[services]]\n[[services.ports]]\nport = 25565\n";
  write_app("a", "app = 'a'\n" + raw);
  write_app("b", "app = 'b'\n[[services]]\n[[services.ports]]\nport = 25565\n");
  EXPECT_TRUE(load(node_file()).set) << "a private one has its own address";
  write_app("c", "app = 'c'\n" + raw);
  const auto result = load(node_file());
  EXPECT_FALSE(result.set);
  EXPECT_NE(all_rendered(result.diagnostics).find("the public port 25565/tcp is taken by"),
            std::string::npos);
}

TEST_F(ConfigSetTest, StrictRefusesWhatWouldOnlyWarn) {
  write_app("a", "app = 'a'\ninternal_port = 1\n");
  const auto set = loaded();
  EXPECT_FALSE(load(node_file(), {.strict = true}).set);
  EXPECT_FALSE(reload(set, {.strict = true}).set) << "also of files that are not reread";
  EXPECT_TRUE(reload(set).set);
  EXPECT_FALSE(reload(set).diagnostics.empty());
}

TEST_F(ConfigSetTest, AReloadKeepsTheVeryObjectOfUnchangedApps) {
  write_app("a", kHello);
  write_app("b", kOther);
  const auto before = loaded();
  write_app("b", std::string(kOther) + "[rooster]\nidle_timeout = '1m'\n");
  write_app("a", "# touched, says the same\n" + std::string(kHello));
  const auto after = reload(before);
  ASSERT_TRUE(after.set) << all_rendered(after.diagnostics);
  EXPECT_EQ(after.set->find("hello"), before->find("hello"));
  EXPECT_NE(after.set->find("other"), before->find("other"));
  const auto changed = changes(*before, *after.set);
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0].kind, ChangeKind::Settings);
}

TEST_F(ConfigSetTest, ABrokenReloadLeavesEverythingAsItWas) {
  write_app("a", kHello);
  const auto before = loaded();
  write_app("a", "app = ");
  write_app("b", kOther);
  const auto result = reload(before);
  EXPECT_FALSE(result.set);
  EXPECT_TRUE(has_errors(result.diagnostics));
  EXPECT_EQ(before->apps.size(), 1U);
}

TEST_F(ConfigSetTest, ChangesSayWhatEachAppNeeds) {
  write_app("stays", "app = 'stays'\n[processes]\napp = 'x'\n");
  write_app("goes", "app = 'goes'\n");
  write_app("command", "app = 'command'\n[processes]\napp = 'x'\n");
  write_app("env", "app = 'env'\n");
  write_app("routes", "app = 'routes'\n[http_service]\n");
  write_app("port", "app = 'port'\n[http_service]\n");
  const auto before = loaded();
  std::filesystem::remove(folder_.path() / "apps/goes.toml");
  write_app("command", "app = 'command'\n[processes]\napp = 'y'\n");
  write_app("env", "app = 'env'\n[env]\nA = 1\n");
  write_app(
      "routes",
      "app = 'routes'\n[http_service]\nforce_https = true\n[rooster]\nhostnames = ['x.com']\n");
  write_app("port", "app = 'port'\n[http_service]\ninternal_port = 81\n");
  write_app("comes", "app = 'comes'\n");
  const auto after = reload(before);
  ASSERT_TRUE(after.set) << all_rendered(after.diagnostics);
  std::map<std::string, ChangeKind> kinds;
  for (const auto& change : changes(*before, *after.set)) {
    kinds[(change.after ? change.after : change.before)->name] = change.kind;
  }
  EXPECT_EQ(kinds, (std::map<std::string, ChangeKind>{{"comes", ChangeKind::Added},
                                                      {"goes", ChangeKind::Removed},
                                                      {"command", ChangeKind::Replace},
                                                      {"env", ChangeKind::Replace},
                                                      {"port", ChangeKind::Replace},
                                                      {"routes", ChangeKind::Settings}}));
}

TEST_F(ConfigSetTest, WhatNeedsARestartIsNamedAndLeft) {
  write_app("a", kHello);
  const auto before = loaded();
  folder_.write("rooster.toml",
                "region = 'gru'\nworkers = 7\nwatch = true\n[listen]\nhttp = [':81']\n");
  const auto after = reload(before);
  ASSERT_TRUE(after.set);
  EXPECT_EQ(after.needs_restart, (std::vector<std::string>{"workers", "[listen] http"}));
  EXPECT_EQ(after.set->node.fixed, before->node.fixed);
  EXPECT_TRUE(after.set->node.reloadable.watch);
}

TEST_F(ConfigSetTest, AnotherRegionChangesTheAppsThatNameNone) {
  write_app("a", kHello);
  const auto before = loaded();
  folder_.write("rooster.toml", "region = 'iad'\n");
  const auto after = reload(before);
  ASSERT_TRUE(after.set);
  EXPECT_EQ(after.set->find("hello")->primary_region, "iad");
}

/// 100 000 where the build is optimised, a tenth in a debug build; times ROOSTER_SCALE.
std::size_t many() {
  const char* const scale = std::getenv("ROOSTER_SCALE");
#ifdef NDEBUG
  constexpr double kApps = 100'000;
#else
  constexpr double kApps = 10'000;
#endif
  return static_cast<std::size_t>(kApps * (scale != nullptr ? std::strtod(scale, nullptr) : 1));
}

TEST_F(ConfigSetTest, AHundredThousandAppsLoadAndReloadQuickly) {
  const std::size_t count = many();
  for (std::size_t i = 0; i < count; ++i) {
    const auto name = "app-" + std::to_string(i);
    write_app(name, "app = '" + name +
                        "'\nprimary_region = 'gru'\n[processes]\napp = 'run --port 8000'\n"
                        "[http_service]\ninternal_port = 8000\nforce_https = true\n"
                        "[rooster]\nhostnames = ['" +
                        name + ".example.com']\n");
  }
  const auto timed = [](std::string_view what, auto&& run) {
    const auto begun = Clock::now();
    auto result = run();
    const std::chrono::duration<double, std::milli> took = Clock::now() - begun;
    std::printf("%s: %.0f ms\n", std::string(what).c_str(), took.count());
    return std::pair(std::move(result), took.count());
  };
  const auto [first, load_ms] = timed("load", [&] { return load(node_file()); });
  ASSERT_TRUE(first.set) << all_rendered(first.diagnostics);
  ASSERT_EQ(first.set->apps.size(), count);
  EXPECT_LT(load_ms, 30'000);
  // Files written within the kernel's clock tick are read once more; then all stamps hold.
  const auto [settled, settle_ms] = timed("second load", [&] { return reload(first.set); });
  const auto [same, same_ms] = timed("unchanged reload", [&] { return reload(settled.set); });
  EXPECT_EQ(same.set, settled.set);
  EXPECT_EQ(same.parsed_files, 0U);
  EXPECT_LT(same_ms, 3000);
  write_app("app-7", "app = 'app-7'\n[processes]\napp = 'other'\n");
  const auto [one, one_ms] = timed("one app changed", [&] { return reload(same.set); });
  ASSERT_TRUE(one.set);
  EXPECT_EQ(one.parsed_files, 1U);
  EXPECT_LT(one_ms, 5000);
  const auto changed = timed("changes", [&] { return changes(*same.set, *one.set); }).first;
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0].kind, ChangeKind::Replace);
}

}  // namespace
}  // namespace rooster::config
