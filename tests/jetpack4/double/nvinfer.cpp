// The behaviour of the double. A network is text, "double-network", "input NAME SIZES..." and "scale NUMBER"; its output
// has 4 numbers for each picture: the picture's mean x scale, + 0, 1, 2 and 3. GPU memory is the program's own.
//
// Every call that TensorRT may refuse is counted; refuse_call(n) makes the n-th fail, with a message in the log.
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#ifndef LIBRARY_VERSION
#define LIBRARY_VERSION (NV_TENSORRT_MAJOR * 1000 + NV_TENSORRT_MINOR * 100 + NV_TENSORRT_PATCH)
#endif

using namespace nvinfer1;
using Severity = ILogger::Severity;

namespace
{

std::atomic<int> liveObjects{0};
std::atomic<int> callsMade{0};
std::atomic<int> refusedCall{-1};
std::atomic<bool> fastInt8{true};

struct Counted
{
    Counted() { ++liveObjects; }
    Counted(Counted const&) = delete;
    ~Counted() { --liveObjects; }
};

void say(ILogger& logger, Severity severity, std::string const& text) { logger.log(severity, text.c_str()); }

bool refused(ILogger& logger, char const* what)
{
    if (callsMade++ != refusedCall)
        return false;
    say(logger, Severity::kERROR, std::string(what) + " was refused");
    return true;
}

struct Weights
{
    float scale = 0;
    bool freed = false;
};

Dims dimsFrom(std::istream& text, int count)
{
    Dims dims{};
    dims.nbDims = count;
    for (int i = 0; i < count; ++i)
        text >> dims.d[i];
    return dims;
}

void write(std::ostream& text, Dims const& dims)
{
    for (int i = 0; i < dims.nbDims; ++i)
        text << ' ' << dims.d[i];
    text << '\n';
}

struct Memory : IHostMemory, Counted
{
    explicit Memory(std::string content) : mContent(std::move(content)) {}
    void* data() const noexcept override { return const_cast<char*>(mContent.data()); }
    std::size_t size() const noexcept override { return mContent.size(); }
    std::string mContent;
};

struct Tensor : ITensor
{
    char const* getName() const noexcept override { return mName.c_str(); }
    Dims getDimensions() const noexcept override { return mDims; }
    std::string mName;
    Dims mDims{};
};

struct Network : INetworkDefinition, Counted
{
    int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(mInputs.size()); }
    ITensor* getInput(int32_t index) const noexcept override { return mInputs[index].get(); }
    std::vector<std::unique_ptr<Tensor>> mInputs;
    std::shared_ptr<Weights> mWeights;
};

struct Profile : IOptimizationProfile
{
    explicit Profile(ILogger& logger) : mLogger(logger) {}
    bool setDimensions(char const*, OptProfileSelector select, Dims dims) noexcept override
    {
        if (refused(mLogger, "setDimensions"))
            return false;
        mDims[static_cast<int>(select)] = dims;
        return true;
    }
    ILogger& mLogger;
    Dims mDims[3]{};
};

struct TimingCache : ITimingCache, Counted
{
    IHostMemory* serialize() const noexcept override { return new Memory(mContent); }
    mutable std::string mContent;
};

struct Config : IBuilderConfig, Counted
{
    explicit Config(ILogger& logger) : mLogger(logger) {}
    void setMaxWorkspaceSize(std::size_t size) noexcept override { mWorkspace = size; }
    std::size_t getMaxWorkspaceSize() const noexcept override { return mWorkspace; }
    void setFlag(BuilderFlag flag) noexcept override { mFlags.insert(flag); }
    void clearFlag(BuilderFlag flag) noexcept override { mFlags.erase(flag); }
    void setProfilingVerbosity(ProfilingVerbosity verbosity) noexcept override { mVerbosity = verbosity; }
    ProfilingVerbosity getProfilingVerbosity() const noexcept override { return mVerbosity; }
    void setDefaultDeviceType(DeviceType type) noexcept override { mDevice = type; }
    DeviceType getDefaultDeviceType() const noexcept override { return mDevice; }
    void setDLACore(int32_t core) noexcept override { mCore = core; }
    int32_t getDLACore() const noexcept override { return mCore; }
    ITimingCache* createTimingCache(void const* data, std::size_t size) const noexcept override
    {
        std::string const content(static_cast<char const*>(data), size);
        if (refused(mLogger, "createTimingCache") || (size && content.compare(0, 13, "double-timing") != 0))
            return nullptr;
        auto* cache = new TimingCache;
        cache->mContent = size ? content : "double-timing";
        return cache;
    }
    bool setTimingCache(ITimingCache const& cache, bool) noexcept override
    {
        if (refused(mLogger, "setTimingCache"))
            return false;
        mCache = static_cast<TimingCache const*>(&cache);
        return true;
    }
    int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept override
    {
        if (refused(mLogger, "addOptimizationProfile"))
            return -1;
        mProfile = static_cast<Profile const*>(profile);
        return 0;
    }
    bool setCalibrationProfile(IOptimizationProfile const* profile) noexcept override
    {
        if (refused(mLogger, "setCalibrationProfile"))
            return false;
        mCalibrationProfile = static_cast<Profile const*>(profile);
        return true;
    }
    void setInt8Calibrator(IInt8Calibrator* calibrator) noexcept override { mCalibrator = calibrator; }
    IInt8Calibrator* getInt8Calibrator() const noexcept override { return mCalibrator; }

    ILogger& mLogger;
    std::size_t mWorkspace = 0;
    std::set<BuilderFlag> mFlags{BuilderFlag::kTF32};
    ProfilingVerbosity mVerbosity = static_cast<ProfilingVerbosity>(0);
    DeviceType mDevice = DeviceType::kGPU;
    int32_t mCore = -1;
    TimingCache const* mCache = nullptr;
    Profile const* mProfile = nullptr;
    Profile const* mCalibrationProfile = nullptr;
    IInt8Calibrator* mCalibrator = nullptr;
};

// The largest value in all pictures of the calibrator, in the form of its cache.
std::string calibrate(ILogger& logger, IInt8Calibrator& calibrator, std::string const& input, Dims const& dims)
{
    std::size_t length = 0;
    void const* known = calibrator.readCalibrationCache(length);
    if (known != nullptr)
        return std::string(static_cast<char const*>(known), length);
    std::size_t count = static_cast<std::size_t>(calibrator.getBatchSize());
    for (int i = 1; i < dims.nbDims; ++i)
        count *= static_cast<std::size_t>(dims.d[i]);
    float largest = 0;
    int batches = 0;
    void* bindings[1];
    char const* names[1] = {input.c_str()};
    while (calibrator.getBatch(bindings, names, 1))
    {
        ++batches;
        for (std::size_t i = 0; i < count; ++i)
            largest = std::fmax(largest, std::fabs(static_cast<float*>(bindings[0])[i]));
        say(logger, Severity::kINFO, "calibrated with batch " + std::to_string(batches));
    }
    if (batches == 0)
        return "";
    std::ostringstream cache;
    cache << "range " << largest << " batches " << batches;
    calibrator.writeCalibrationCache(cache.str().data(), cache.str().size());
    return cache.str();
}

struct Builder : IBuilder, Counted
{
    explicit Builder(ILogger& logger) : mLogger(logger) {}
    int32_t getNbDLACores() const noexcept override { return 0; }
    bool platformHasFastFp16() const noexcept override { return true; }
    bool platformHasFastInt8() const noexcept override { return fastInt8; }
    INetworkDefinition* createNetworkV2(uint32_t flags) noexcept override
    {
        return refused(mLogger, "createNetworkV2") || flags != 1 ? nullptr : new Network;
    }
    IBuilderConfig* createBuilderConfig() noexcept override
    {
        return refused(mLogger, "createBuilderConfig") ? nullptr : new Config(mLogger);
    }
    IOptimizationProfile* createOptimizationProfile() noexcept override
    {
        if (refused(mLogger, "createOptimizationProfile"))
            return nullptr;
        mProfiles.emplace_back(new Profile(mLogger));
        return mProfiles.back().get();
    }
    IHostMemory* buildSerializedNetwork(INetworkDefinition& definition, IBuilderConfig& settings) noexcept override
    {
        auto& network = static_cast<Network&>(definition);
        auto& config = static_cast<Config&>(settings);
        if (refused(mLogger, "buildSerializedNetwork"))
            return nullptr;
        if (!network.mWeights || network.mWeights->freed || !config.mProfile || config.mFlags.count(BuilderFlag::kTF32))
        {
            say(mLogger, Severity::kERROR, "the network has lost its weights, or the build is not complete");
            return nullptr;
        }
        Tensor const& input = *network.mInputs[0];
        std::string ranges = "none";
        if (config.mFlags.count(BuilderFlag::kINT8))
        {
            if (!config.mCalibrator || !config.mCalibrationProfile)
                return nullptr;
            std::thread calibration([&] {
                ranges = calibrate(mLogger, *config.mCalibrator, input.mName, config.mCalibrationProfile->mDims[2]);
            });
            calibration.join();
            if (ranges.empty())
            {
                say(mLogger, Severity::kERROR, "no batch to calibrate with");
                return nullptr;
            }
        }
        if (config.mCache)
            config.mCache->mContent += " tactic";
        std::ostringstream plan;
        plan << "double-plan " << LIBRARY_VERSION << '\n' << input.mName << '\n' << input.mDims.nbDims;
        write(plan, input.mDims);
        for (Dims const& dims : config.mProfile->mDims)
            write(plan, dims);
        plan << (config.mFlags.count(BuilderFlag::kFP16) ? "Half" : "Float") << ' '
             << (static_cast<int>(config.mVerbosity) == 2 ? "detailed" : "names") << ' ' << config.mWorkspace << ' '
             << network.mWeights->scale << '\n' << ranges << '\n';
        return new Memory(plan.str());
    }
    ILogger& mLogger;
    std::vector<std::unique_ptr<Profile>> mProfiles;
};

struct Plan
{
    std::string input, type, detail;
    Dims dims{}, profile[3]{};
    std::size_t workspace = 0;
    float scale = 0;

    bool read(std::string const& content)
    {
        std::istringstream text(content);
        std::string magic;
        int version = 0, count = 0;
        text >> magic >> version >> input >> count;
        if (magic != "double-plan" || version != LIBRARY_VERSION)
            return false;
        dims = dimsFrom(text, count);
        for (Dims& one : profile)
            one = dimsFrom(text, count);
        return static_cast<bool>(text >> type >> detail >> workspace >> scale);
    }
};

struct Context : IExecutionContext, Counted
{
    Context(ILogger& logger, Plan const& plan) : mLogger(logger), mPlan(plan), mShape(plan.dims) {}
    bool setBindingDimensions(int32_t binding, Dims dims) noexcept override
    {
        bool allowed = binding == 0 && dims.nbDims == mPlan.dims.nbDims;
        for (int i = 0; allowed && i < dims.nbDims; ++i)
            allowed = mPlan.profile[0].d[i] <= dims.d[i] && dims.d[i] <= mPlan.profile[2].d[i];
        if (refused(mLogger, "setBindingDimensions") || !allowed)
            return false;
        mShape = dims;
        return true;
    }
    Dims getBindingDimensions(int32_t binding) const noexcept override
    {
        if (binding == 0)
            return mShape;
        Dims output{};
        output.nbDims = 2;
        output.d[0] = mShape.d[0];
        output.d[1] = 4;
        return output;
    }
    bool enqueueV2(void* const* bindings, cudaStream_t stream, cudaEvent_t*) noexcept override
    {
        if (refused(mLogger, "enqueueV2") || stream == nullptr)
            return false;
        auto const* input = static_cast<float const*>(bindings[0]);
        auto* output = static_cast<float*>(bindings[1]);
        std::size_t size = 1;
        for (int i = 1; i < mShape.nbDims; ++i)
            size *= static_cast<std::size_t>(mShape.d[i]);
        for (int32_t n = 0; n < mShape.d[0]; ++n, input += size, output += 4)
        {
            double sum = 0;
            for (std::size_t i = 0; i < size; ++i)
                sum += input[i];
            auto mean = static_cast<float>(sum / static_cast<double>(size)) * mPlan.scale;
            if (mPlan.type == "Half")
                mean = std::round(mean * 64) / 64;
            for (int i = 0; i < 4; ++i)
                output[i] = mean + static_cast<float>(i);
        }
        return true;
    }
    ILogger& mLogger;
    Plan const& mPlan;
    Dims mShape;
};

#if NV_TENSORRT_MINOR >= 2
struct Inspector : IEngineInspector, Counted
{
    explicit Inspector(Plan const& plan)
        : mText(plan.detail == "detailed"
                  ? "{\"Name\": \"mean\", \"LayerType\": \"Reduce\", \"Outputs\": [{\"Format/Datatype\": \"Row major "
                      + plan.type + "\"}]}"
                  : "mean")
    {
    }
    char const* getLayerInformation(int32_t, LayerInformationFormat) const noexcept override { return mText.c_str(); }
    std::string mText;
};
#endif

struct Engine : ICudaEngine, Counted
{
    explicit Engine(ILogger& logger) : mLogger(logger) {}
    int32_t getNbBindings() const noexcept override { return 2; }
    int32_t getNbLayers() const noexcept override { return 1; }
    int32_t getNbOptimizationProfiles() const noexcept override { return 1; }
    std::size_t getDeviceMemorySize() const noexcept override { return 4096; }
    bool hasImplicitBatchDimension() const noexcept override { return false; }
    char const* getBindingName(int32_t binding) const noexcept override
    {
        return binding == 0 ? mPlan.input.c_str() : "output";
    }
    bool bindingIsInput(int32_t binding) const noexcept override { return binding == 0; }
    TensorLocation getLocation(int32_t) const noexcept override { return TensorLocation::kDEVICE; }
    DataType getBindingDataType(int32_t) const noexcept override { return DataType::kFLOAT; }
    Dims getBindingDimensions(int32_t binding) const noexcept override
    {
        return Context(mLogger, mPlan).getBindingDimensions(binding);
    }
    Dims getProfileDimensions(int32_t, int32_t, OptProfileSelector select) const noexcept override
    {
        return mPlan.profile[static_cast<int>(select)];
    }
#if NV_TENSORRT_MINOR >= 2
    IEngineInspector* createEngineInspector() const noexcept override
    {
        return refused(mLogger, "createEngineInspector") ? nullptr : new Inspector(mPlan);
    }
#endif
    IExecutionContext* createExecutionContext() noexcept override
    {
        return refused(mLogger, "createExecutionContext") ? nullptr : new Context(mLogger, mPlan);
    }
    ILogger& mLogger;
    Plan mPlan;
};

struct Runtime : IRuntime, Counted
{
    explicit Runtime(ILogger& logger) : mLogger(logger) {}
    void setDLACore(int32_t core) noexcept override { mCore = core; }
    int32_t getDLACore() const noexcept override { return mCore; }
    ICudaEngine* deserializeCudaEngine(void const* data, std::size_t size) noexcept override
    {
        std::unique_ptr<Engine> engine(new Engine(mLogger));
        if (refused(mLogger, "deserializeCudaEngine"))
            return nullptr;
        if (!engine->mPlan.read(std::string(static_cast<char const*>(data), size)))
        {
            say(mLogger, Severity::kERROR, "Serialization: magic tag does not match \xff");
            return nullptr;
        }
        return engine.release();
    }
    ILogger& mLogger;
    int32_t mCore = -1;
};

struct ParserError : nvonnxparser::IParserError
{
    char const* desc() const noexcept override { return "this is no double-network"; }
    int node() const noexcept override { return 3; }
};

struct Parser : nvonnxparser::IParser, Counted
{
    Parser(Network& network, ILogger& logger) : mNetwork(network), mLogger(logger) {}
    ~Parser() override { mWeights->freed = true; }
    bool parse(void const* model, std::size_t size, char const*) noexcept override
    {
        std::istringstream text(std::string(static_cast<char const*>(model), size));
        std::string magic, word;
        text >> magic;
        if (refused(mLogger, "parse") || magic != "double-network")
        {
            mErrors = 1;
            return false;
        }
        while (text >> word)
        {
            if (word == "input")
            {
                std::unique_ptr<Tensor> input(new Tensor);
                text >> input->mName;
                input->mDims = dimsFrom(text, 4);
                mNetwork.mInputs.push_back(std::move(input));
            }
            else if (word == "scale")
                text >> mWeights->scale;
        }
        mNetwork.mWeights = mWeights;
        return true;
    }
    int getNbErrors() const noexcept override { return mErrors; }
    nvonnxparser::IParserError const* getError(int) const noexcept override { return &mError; }
    Network& mNetwork;
    ILogger& mLogger;
    std::shared_ptr<Weights> mWeights = std::make_shared<Weights>();
    ParserError mError;
    int mErrors = 0;
};

} // namespace

IBuilder* nvinfer1::createInferBuilder(ILogger& logger) noexcept
{
    return refused(logger, "createInferBuilder") ? nullptr : new Builder(logger);
}

IRuntime* nvinfer1::createInferRuntime(ILogger& logger) noexcept
{
    return refused(logger, "createInferRuntime") ? nullptr : new Runtime(logger);
}

nvonnxparser::IParser* nvonnxparser::createParser(INetworkDefinition& network, ILogger& logger) noexcept
{
    return refused(logger, "createParser") ? nullptr : new Parser(static_cast<Network&>(network), logger);
}

extern "C"
{
int32_t getInferLibVersion() noexcept { return LIBRARY_VERSION; }

// For the tests.
int live_objects() { return liveObjects; }
int calls_made() { return callsMade; }
void refuse_call(int number)
{
    callsMade = 0;
    refusedCall = number;
}
void set_fast_int8(int fast) { fastInt8 = fast != 0; }
}
