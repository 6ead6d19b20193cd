"""Process: libraries that ask for a pool or an executor, in the way that their own documentation shows."""

from __future__ import annotations

import random
from typing import Any

import pytest
import targets
import targets_executor as mine

from procorch import ProcessGroup


@pytest.mark.limit(60)
def test_emcee() -> None:
    emcee = pytest.importorskip("emcee")
    numpy = pytest.importorskip("numpy")

    def chain(pool: object) -> Any:
        sampler = emcee.EnsembleSampler(8, 2, mine.log_probability, pool=pool)
        start = numpy.random.default_rng(1).normal(size=(8, 2))
        sampler.random_state = numpy.random.RandomState(2).get_state()
        sampler.run_mcmc(start, 20)
        return sampler.get_chain()

    alone = chain(None)
    with ProcessGroup(2) as group:
        for pool in (group, group.as_pool(), group.as_executor()):
            assert numpy.array_equal(chain(pool), alone)


@pytest.mark.limit(60)
def test_dynesty() -> None:
    dynesty = pytest.importorskip("dynesty")
    numpy = pytest.importorskip("numpy")

    def evidence(**parallel: object) -> Any:
        rng = numpy.random.default_rng(1)
        sampler = dynesty.NestedSampler(mine.log_probability, mine.from_unit_cube, 2, nlive=40, rstate=rng, **parallel)
        sampler.run_nested(dlogz=1.0, print_progress=False)
        return sampler.results.logz[-1]

    with ProcessGroup(2) as group:
        with group.as_pool() as pool:
            found = [evidence(pool=pool), evidence(pool=pool, queue_size=4)]
        found.append(evidence(pool=group.as_executor(), queue_size=2))
    # The integral of the function over the square: 2 pi / 100.
    assert all(abs(one - numpy.log(2 * numpy.pi / 100)) < 1.5 for one in found)


@pytest.mark.limit(60)
def test_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")

    def minimum(**parallel: object) -> list[float]:
        bounds = [(-5, 5)] * 2
        options = {"seed": 1, "updating": "deferred", "maxiter": 10, "polish": False, "popsize": 5, **parallel}
        found: list[float] = optimize.differential_evolution(mine.distance, bounds, **options).x.tolist()
        return found

    alone = minimum()
    with ProcessGroup(2) as group:
        for workers in (group.map, group.as_pool().map, group.as_executor().map):
            assert minimum(workers=workers) == alone


@pytest.mark.limit(60)
def test_deap() -> None:
    base, tools = pytest.importorskip("deap.base"), pytest.importorskip("deap.tools")
    creator, algorithms = pytest.importorskip("deap.creator"), pytest.importorskip("deap.algorithms")
    creator.create("OnesFitness", base.Fitness, weights=(1.0,))
    creator.create("OnesIndividual", list, fitness=creator.OnesFitness)

    def best(parallel_map: object) -> list[list[int]]:
        random.seed(3)
        toolbox = base.Toolbox()
        toolbox.register("map", parallel_map)
        toolbox.register("bit", random.randint, 0, 1)
        toolbox.register("individual", tools.initRepeat, creator.OnesIndividual, toolbox.bit, 12)
        toolbox.register("population", tools.initRepeat, list, toolbox.individual)
        toolbox.register("evaluate", mine.ones)
        toolbox.register("mate", tools.cxTwoPoint)
        toolbox.register("mutate", tools.mutFlipBit, indpb=0.1)
        toolbox.register("select", tools.selTournament, tournsize=3)
        population = toolbox.population(n=20)
        population, _ = algorithms.eaSimple(population, toolbox, 0.5, 0.2, 5, verbose=False)
        return [list(individual) for individual in population]

    alone = best(map)
    # What lives in `deap.creator` is made when the program runs, so workers have to make it as well.
    with ProcessGroup(2, initializer=mine.make_deap_classes) as group:
        for parallel_map in (group.map, group.as_pool().map, group.as_executor().map):
            assert best(parallel_map) == alone


@pytest.mark.limit(60)
def test_pymoo() -> None:
    algorithm = pytest.importorskip("pymoo.algorithms.soo.nonconvex.ga").GA
    minimize = pytest.importorskip("pymoo.optimize").minimize
    parallelization = pytest.importorskip("pymoo.parallelization.starmap").StarmapParallelization
    problem = pytest.importorskip("targets_pymoo").Distance

    def minimum(**parallel: object) -> list[float]:
        found: list[float] = minimize(problem(**parallel), algorithm(pop_size=10), ("n_gen", 5), seed=1).X.tolist()
        return found

    alone = minimum()
    with ProcessGroup(2) as group, group.as_pool() as pool:
        assert minimum(elementwise_runner=parallelization(pool.starmap)) == alone


@pytest.mark.limit(60)
def test_dask() -> None:
    dask = pytest.importorskip("dask")
    total = dask.delayed(sum)([dask.delayed(targets.doubler)(number) for number in range(20)])
    where = dask.delayed(targets.whoami)()
    with ProcessGroup(2, name="etl") as group, group.as_executor() as executor:
        assert total.compute(scheduler=executor) == 380
        assert where.compute(scheduler=executor)[0].startswith("etl-")
        with dask.config.set(pool=executor, scheduler="processes"):
            assert total.compute() == 380
            assert where.compute()[0].startswith("etl-")
